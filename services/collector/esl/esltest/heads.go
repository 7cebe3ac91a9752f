package esltest

import "time"

// heads are the copies, the one with the earliest event first.
type heads []head

type head struct {
	tape  *tape
	pos   int
	copy  int
	delay time.Duration
}

func (h head) at() time.Duration { return h.tape.entries[h.pos].offset + h.delay }

func (h heads) Len() int { return len(h) }
func (h heads) Less(i, j int) bool {
	if len(h[i].tape.entries) == h[i].pos { // an empty tape
		return false
	}
	a, b := h[i].at(), h[j].at()
	return a < b || a == b && h[i].copy < h[j].copy
}
func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)   { *h = append(*h, x.(head)) }
func (h *heads) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
