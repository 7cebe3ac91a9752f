package stream

import (
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// Reach is how far samples are out: those of all events up to Through, and the first
// Part of those of the event after it.
type Reach struct {
	Through uint64 // sequence in Events
	Part    int
}

// Write sets the headers of a sample message that is the last one so far.
func (r Reach) Write(h nats.Header) {
	h.Set(HeaderThrough, strconv.FormatUint(r.Through, 10))
	if r.Part > 0 {
		h.Set(HeaderPart, strconv.Itoa(r.Part))
	}
}

// ReadReach returns what the headers of a sample message say, or an error if no
// calculator wrote them.
func ReadReach(h nats.Header) (r Reach, err error) {
	if r.Through, err = strconv.ParseUint(h.Get(HeaderThrough), 10, 64); err != nil {
		return Reach{}, fmt.Errorf("header %s: %w", HeaderThrough, err)
	}
	if v := h.Get(HeaderPart); v != "" {
		if r.Part, err = strconv.Atoi(v); err != nil || r.Part < 0 {
			return Reach{}, fmt.Errorf("header %s: %q is no number of samples", HeaderPart, v)
		}
	}
	return r, nil
}
