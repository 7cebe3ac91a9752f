package calculator

import (
	"fmt"
	"slices"
	"testing"
)

func members(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("calculator-%d", i))
	}
	return out
}

func owners(a map[string][]int, partitions int) []string {
	out := make([]string, partitions)
	for m, ps := range a {
		for _, p := range ps {
			out[p] = m
		}
	}
	return out
}

func TestAssignIsEven(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 4, 16, 64, 100} {
		for n := 1; n <= 20; n++ {
			a := assign(members(n), partitions)
			count := 0
			for m, ps := range a {
				count += len(ps)
				if len(ps) < partitions/n || len(ps) > (partitions+n-1)/n {
					t.Errorf("%d partitions, %d members: %s has %d", partitions, n, m, len(ps))
				}
			}
			if count != partitions || slices.Contains(owners(a, partitions), "") {
				t.Errorf("%d partitions, %d members: %d assigned", partitions, n, count)
			}
		}
	}
}

func TestAssignDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	m := members(5)
	want := owners(assign(m, 16), 16)
	slices.Reverse(m)
	if got := owners(assign(m, 16), 16); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAssignOfNobody(t *testing.T) {
	t.Parallel()
	if a := assign(nil, 16); len(a) != 0 {
		t.Errorf("got %v", a)
	}
}

// When a member goes, its partitions move, and few others'.
func TestAssignMovesLittle(t *testing.T) {
	t.Parallel()
	const partitions = 64
	for n := 2; n <= 8; n++ {
		before := owners(assign(members(n), partitions), partitions)
		after := owners(assign(members(n-1), partitions), partitions)
		moved := 0
		for p := range partitions {
			if before[p] != after[p] && before[p] != fmt.Sprintf("calculator-%d", n-1) {
				moved++
			}
		}
		if moved > partitions/4 {
			t.Errorf("from %d members to %d: %d of %d partitions of the others moved", n, n-1, moved, partitions)
		}
	}
}
