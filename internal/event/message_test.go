package event_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
)

func split(payload []byte) (events [][]byte, err error) {
	for raw, e := range event.Split(payload) {
		if e != nil {
			return events, e
		}
		events = append(events, raw)
	}
	return events, nil
}

func TestSplit(t *testing.T) {
	t.Parallel()
	all := recorded(t, "09b-rtcp-mux")
	var packed []byte
	for _, raw := range all {
		packed = event.AppendFrame(packed, raw)
	}
	got, err := split(packed)
	if err != nil || !slices.EqualFunc(got, all, bytes.Equal) {
		t.Errorf("packed events come back as %d, %v, want %d", len(got), err, len(all))
	}
	if got, err = split(all[0]); err != nil || len(got) != 1 || !bytes.Equal(got[0], all[0]) {
		t.Errorf("one plain event comes back as %d, %v", len(got), err)
	}
	for range event.Split(packed) {
		break // stops when told
	}
}

func TestSplitMalformed(t *testing.T) {
	t.Parallel()
	good := event.AppendFrame(nil, []byte(minimal))
	for name, tail := range map[string]string{
		"cut off":          "Content-Length: 100\n\nabc",
		"no number":        "Content-Length: x\n\nabc",
		"negative":         "Content-Length: -1\n\nabc",
		"a gigabyte":       "Content-Length: 1073741824\n\n",
		"64 bits":          "Content-Length: 18446744073709551615\n\n",
		"no end of header": "Content-Length: 3",
		"other header":     "Content-Type: text\n\nabc",
		"trailing newline": "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := split(append(slices.Clone(good), tail...))
			if len(got) != 1 || !errors.Is(err, event.ErrMalformed) {
				t.Errorf("got %d events and %v, want the one before the bad frame and ErrMalformed", len(got), err)
			}
		})
	}
}
