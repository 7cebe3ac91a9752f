package recording_test

import (
	"errors"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
)

func TestEveryRecordingLoads(t *testing.T) {
	t.Parallel()
	names := recording.Names()
	if len(names) != 16 {
		t.Errorf("got %d recordings, want 16: %v", len(names), names)
	}
	for _, name := range names {
		r, err := recording.Load(name)
		if err != nil {
			t.Errorf("Load(%s): %v", name, err)
			continue
		}
		for i, f := range r.Frames {
			if i > 0 && f.At.Before(r.Frames[i-1].At) {
				t.Errorf("%s: frame %d is at %v, before the frame ahead of it", name, i, f.At)
			}
		}
		for i, raw := range r.Events() {
			if _, err := event.Parse(raw); err != nil {
				t.Errorf("%s: event %d: %v", name, i, err)
			}
		}
		if len(r.Frames)-len(r.Events()) > 2 { // the reply, and a notice at most
			t.Errorf("%s: %d frames but %d events", name, len(r.Frames), len(r.Events()))
		}
	}
}

func TestRelay(t *testing.T) {
	t.Parallel()
	r, err := recording.Load("03g-loss5-only")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Relay) != 2 || r.Relay[0].RTPDropped != 119 || r.Relay[1].RTPDropped != 105 {
		t.Errorf("relay of 03g: got %+v, want 119 and 105 dropped", r.Relay)
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	if _, err := recording.Load("none"); !errors.Is(err, recording.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}
