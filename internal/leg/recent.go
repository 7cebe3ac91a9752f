package leg

import "slices"

// remembered is how many event numbers a leg keeps.
const remembered = 16

// recent is the highest Event-Sequences applied to a leg, ascending.
type recent struct {
	n   int
	seq [remembered]uint64
}

// has reports whether an event with that number must count as applied before:
// it is remembered, or it is older than all that are. Events of one leg overtake
// each other by a few numbers only (F 1.8), so 16 are plenty.
func (r *recent) has(seq uint64) bool {
	if r.n == remembered && seq < r.seq[0] {
		return true
	}
	for i := r.n - 1; i >= 0 && r.seq[i] >= seq; i-- {
		if r.seq[i] == seq {
			return true
		}
	}
	return false
}

// add remembers a number that it has not.
func (r *recent) add(seq uint64) {
	i, _ := slices.BinarySearch(r.seq[:r.n], seq)
	if r.n < remembered {
		copy(r.seq[i+1:], r.seq[i:r.n])
		r.n++
		r.seq[i] = seq
		return
	}
	if i == 0 {
		return // older than all
	}
	copy(r.seq[:i-1], r.seq[1:i])
	r.seq[i-1] = seq
}
