package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// usualRate, events a second, is taken for the maximum where live has not been
// measured before.
const usualRate = 15_000

// latency plays the calls at half of the maximum rate, with the whole pipeline at
// work, and tells how long it was from an event in the stream to its sample in
// the stream.
func (b *bench) latency(ctx context.Context) ([]Row, error) {
	rate := b.liveRate / 2
	if rate == 0 {
		rate = usualRate / 2
	}
	return b.live(ctx, run{name: "half rate", calculators: 2, exporters: 1, rate: rate, latency: true})
}

// latencies of the samples in the stream whose event's message id counts, ascending:
// from when the server stored the event to when it stored the sample.
func latencies(ctx context.Context, js jetstream.JetStream, counts func(id string) bool) ([]time.Duration, error) {
	stored := map[string]time.Time{}
	if err := readAll(ctx, js, stream.Events, true, func(msg jetstream.Msg, at time.Time) error {
		if id := msg.Headers().Get(nats.MsgIdHdr); counts(id) {
			stored[id] = at
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var out []time.Duration
	err := readAll(ctx, js, stream.Samples, false, func(msg jetstream.Msg, at time.Time) error {
		samples, err := sample.Decode(msg.Data())
		if err != nil {
			return err
		}
		for _, s := range samples {
			if event, ok := stored[s.GetEventId()]; ok {
				out = append(out, at.Sub(event))
			}
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// readAll gives every message of a stream to each, in order.
func readAll(ctx context.Context, js jetstream.JetStream, name string, headersOnly bool, each func(msg jetstream.Msg, stored time.Time) error) error {
	consumer, err := js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{HeadersOnly: headersOnly})
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for {
		batch, err := consumer.FetchNoWait(5000)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		n := 0
		for msg := range batch.Messages() {
			n++
			meta, err := msg.Metadata()
			if err == nil {
				err = each(msg, meta.Timestamp)
			}
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
		}
		if n == 0 {
			return nil
		}
	}
}

// percentiles of ascending durations, as text.
func percentiles(d []time.Duration) string {
	if len(d) == 0 {
		return "no samples"
	}
	at := func(share float64) time.Duration {
		return d[min(int(share*float64(len(d))), len(d)-1)].Round(time.Millisecond / 10)
	}
	return fmt.Sprintf("event to sample p50 %v, p99 %v, longest %v", at(0.5), at(0.99), d[len(d)-1].Round(time.Millisecond))
}
