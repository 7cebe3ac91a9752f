package emodel_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/emodel"
)

func TestBurstRatio(t *testing.T) {
	t.Parallel()
	// Vector bg-07: 5 lost in a row among 105.
	if got, ok := emodel.BurstRatio(5, 1, 105); !ok || !near(got, 4.7619, 1e-4) {
		t.Errorf("got %v, %t, want 4.7619", got, ok)
	}
	if got, ok := emodel.Markov(1.0/99, 0.2); !ok || !near(got, 4.7596, 1e-3) {
		t.Errorf("Markov: got %v, %t, want 4.7596", got, ok)
	}
	// Vector bg-02.
	if got, ok := emodel.Markov(0.25, 0.75); !ok || got != 1 {
		t.Errorf("Markov: got %v, %t, want 1", got, ok)
	}
	for _, in := range [][3]int64{{0, 0, 10}, {1, 2, 10}, {5, 1, 4}, {-1, -1, -1}} {
		if _, ok := emodel.BurstRatio(in[0], in[1], in[2]); ok {
			t.Errorf("BurstRatio(%v) is ok", in)
		}
	}
	for _, in := range [][2]float64{{0, 0.5}, {0.5, 0}, {1.5, 0.5}} {
		if _, ok := emodel.Markov(in[0], in[1]); ok {
			t.Errorf("Markov(%v) is ok", in)
		}
	}
}

func TestMouthToEar(t *testing.T) {
	t.Parallel()
	for _, v := range [][5]float64{{40, 40, 20, 0.25, 100.25}, {10, 30, 20, 5, 65}, {0, 0, 20, 6.5, 26.5}} {
		if got := emodel.MouthToEar(v[0], v[1], v[2], v[3]); got != v[4] {
			t.Errorf("MouthToEar(%v) = %v", v[:4], got)
		}
	}
}
