package chaos

import (
	"context"
	"fmt"
	"slices"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
)

// Calls are what one FreeSWITCH plays.
type Calls struct {
	Instance, CoreUUID string
	Playback           esltest.Playback
}

// Expectation is what calls make when nothing goes wrong, and how much of it has
// been seen.
type Expectation struct {
	want *expectation
	seen map[sample.Identity]uint64
}

// Point is one that was received.
type Point struct {
	Metric, Instance, Channel, Direction string
	Microseconds                         int64 // since 1970
	Value                                float64
}

// Expect steps the events of calls in this process.
func Expect(ctx context.Context, calls ...Calls) (*Expectation, error) {
	e := &expectation{samples: map[sample.Identity]*fsagentv1.Sample{}, points: map[pointKey]float64{}}
	filter, err := esl.NewFilter(esl.FilterConfig{})
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	subscription := collector.Subscription(true)
	for _, c := range calls {
		table := leg.NewTable(leg.DefaultParams())
		err := c.Playback.Events(ctx, c.CoreUUID, func(raw []byte) {
			id, err := event.Scan(raw)
			if err != nil || !slices.Contains(subscription, string(id.Name)) {
				return
			}
			e.events++
			table.Apply(uint64(e.events), c.Instance, filter.Append(nil, raw), e.add)
		})
		if err != nil {
			return nil, fmt.Errorf("chaos: %w", err)
		}
	}
	return &Expectation{e, map[sample.Identity]uint64{}}, nil
}

// Size is how many events, samples and points there are to come.
func (e *Expectation) Size() (events, samples, points int) {
	return e.want.events, len(e.want.samples), len(e.want.points)
}

// Message takes one message of the samples stream. It returns an error wrapping
// ErrDifference if a sample in it was seen before, is not expected or differs.
func (e *Expectation) Message(data []byte, sequence uint64) error {
	return check(data, sequence, e.want, e.seen)
}

// Complete returns an error wrapping ErrDifference unless every sample was seen.
func (e *Expectation) Complete() error { return complete(e.want, e.seen) }

// Points compares what was received with all that is expected, to a resolution in
// microseconds. It returns an error wrapping ErrDifference.
func (e *Expectation) Points(received []Point, resolution int64) error {
	want, got := map[pointKey]float64{}, map[pointKey]float64{}
	for k, v := range e.want.points {
		k.us -= k.us % resolution
		want[k] = v
	}
	for _, p := range received {
		got[pointKey{p.Metric, p.Instance, p.Channel, p.Direction, p.Microseconds - p.Microseconds%resolution}] = p.Value
	}
	return comparePoints(got, want)
}
