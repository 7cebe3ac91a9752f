package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fsagent/fsagent/internal/stream"
)

// Auto is a Pacer that keeps out of the way of the live services: it watches how
// long they take from an event in the stream to its samples in the stream, and slows
// the replay down while that is more than twice what it was before the replay.
type Auto struct {
	*Rate
	events, samples jetstream.Stream
	log             *slog.Logger
	usual           time.Duration
	seen            uint64 // the last samples message that was looked at
}

const (
	// autoLook is how often the live services are looked at, and autoMessages how
	// many of their messages at most.
	autoLook     = 250 * time.Millisecond
	autoMessages = 40
	// autoLearn is how long they are looked at before the replay begins.
	autoLearn = 2 * time.Second
	// autoLeast and autoMost bound the rate, in events a second.
	autoLeast, autoMost = 1000, 1e6
	// autoFloor is what a flush of samples takes by itself.
	autoFloor = 5 * time.Millisecond
)

// NewAuto looks at the live services for two seconds. They need not run: then
// nothing holds the replay back until they do.
func NewAuto(ctx context.Context, js jetstream.JetStream, log *slog.Logger) (*Auto, error) {
	events, err := js.Stream(ctx, stream.Events)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.Events, err)
	}
	samples, err := js.Stream(ctx, stream.Samples)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.Samples, err)
	}
	a := &Auto{Rate: NewRate(autoMost), events: events, samples: samples, log: log, seen: samples.CachedInfo().State.LastSeq}
	var all []time.Duration
	for began := time.Now(); time.Since(began) < autoLearn; {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(autoLook):
		}
		some, err := a.latencies(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	a.usual = max(high(all), autoFloor)
	return a, nil
}

// Run adapts the rate until ctx ends.
func (a *Auto) Run(ctx context.Context) {
	rate := 20_000.0
	a.set(rate)
	tick := time.NewTicker(autoLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		some, err := a.latencies(ctx)
		switch {
		case err != nil:
			a.log.Debug("the live services cannot be looked at", "err", err)
			rate = max(rate/2, autoLeast)
		case high(some) > 2*a.usual:
			rate = max(rate*0.7, autoLeast)
		case high(some) < a.usual+a.usual/2:
			rate = min(rate*1.1, autoMost)
		}
		a.set(rate)
	}
}

// high is the worst but one in twenty; 0 of none.
func high(some []time.Duration) time.Duration {
	if len(some) == 0 {
		return 0
	}
	slices.Sort(some)
	return some[len(some)*19/20]
}

// latencies of the samples messages since the last call: from when the last event
// of each was stored to when it was. Both times are the server's.
func (a *Auto) latencies(ctx context.Context) (out []time.Duration, err error) {
	info, err := a.samples.Info(ctx)
	if err != nil {
		return nil, err
	}
	last := info.State.LastSeq
	step := max((last-min(a.seen, last))/autoMessages, 1)
	for seq := a.seen + 1; seq <= last; seq += step {
		msg, err := a.samples.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		reach, err := stream.ReadReach(msg.Header)
		if err != nil || len(msg.Data) == 0 || reach.Part > 0 {
			continue // a claim, what people handed back, or a part of an event
		}
		event, err := a.events.GetMsg(ctx, reach.Through)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		out = append(out, msg.Time.Sub(event.Time))
	}
	a.seen = max(last, a.seen)
	return out, nil
}
