package stream_test

import (
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
)

// Limits that are as configured are not told, in any configuration; those that are
// not are, and on a server of our own they are changed.
func TestLimits(t *testing.T) {
	t.Parallel()
	small := stream.DefaultSettings()
	small.EventsMaxAge, small.SamplesMaxAge, small.DuplicateWindow, small.EventsMaxBytes = time.Minute, time.Minute, 2*time.Minute, 1<<20
	memory := stream.DefaultSettings()
	memory.Storage = stream.Memory
	for name, s := range map[string]stream.Settings{"default": stream.DefaultSettings(), "small": small, "memory": memory} {
		js := natstest.Start(t).JetStream(s)
		if differ, err := stream.Limits(t.Context(), js, s); err != nil || len(differ) > 0 {
			t.Errorf("%s: %v, %v", name, differ, err)
		}
		other := s
		other.EventsMaxAge, other.EventsMaxBytes, other.SamplesMaxAge, other.DuplicateWindow = 48*time.Hour, 2<<20, 7*time.Hour, 40*time.Second
		differ, err := stream.Limits(t.Context(), js, other)
		if err != nil || len(differ) != 4 {
			t.Errorf("%s, changed: %v, %v, want four limits", name, differ, err)
		}
		if err := stream.ApplyLimits(t.Context(), js, other, natstest.Logger(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if differ, err := stream.Limits(t.Context(), js, other); err != nil || len(differ) > 0 {
			t.Errorf("%s, applied: %v, %v", name, differ, err)
		}
		if err := stream.Ensure(t.Context(), js, s); err != nil {
			t.Errorf("%s: other limits are in the way: %v", name, err)
		}
	}
}
