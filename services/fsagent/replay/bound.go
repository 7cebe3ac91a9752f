package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/services/fsagent/history"
)

// ErrBound is returned by ParseBound for text that is no place in a stream.
var ErrBound = errors.New(`not a time as 2026-11-02T15:04:05Z, nor "now", nor a time before now as -2h30m, nor the sequence of an event`)

// Bound is a place in a stream of events: a sequence, a time at which events were
// stored, or the end of the stream. The zero Bound is no bound.
type Bound struct {
	text     string
	sequence uint64
	at       time.Time
	ago      time.Duration
}

// ParseBound reads what people write; "" is no bound.
func ParseBound(text string) (Bound, error) {
	b := Bound{text: text}
	if text == "" {
		return b, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		b.sequence = n
		return b, nil
	}
	if text == "now" {
		return b, nil
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, err := time.ParseDuration(ago)
		if err != nil || d < 0 {
			return b, fmt.Errorf("%q is %w", text, ErrBound)
		}
		b.ago = d
		return b, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return b, fmt.Errorf("%q is %w", text, ErrBound)
	}
	b.at = t
	return b, nil
}

// String is the text that was read.
func (b Bound) String() string { return b.text }

// resolve gives the sequence of the first event at or after the place; none if
// there is no bound.
func (b Bound) resolve(ctx context.Context, h *history.History, now time.Time, none uint64) (uint64, error) {
	switch {
	case b.text == "":
		return none, nil
	case b.sequence > 0:
		return min(max(b.sequence, h.First), h.Last+1), nil
	case !b.at.IsZero():
		return h.Since(ctx, b.at)
	}
	return h.Since(ctx, now.Add(-b.ago))
}
