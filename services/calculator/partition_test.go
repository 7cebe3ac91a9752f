package calculator

import (
	"fmt"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go/jetstream"
)

// Messages wait in step, as a consumer that was made anew gives those behind the one
// that waited already: none is left out, and they go in order, whichever wakes first.
func TestStepsWaitInTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	consumer, err := b.js.CreateConsumer(t.Context(), stream.Events, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	b.must(err)
	const runs, each = 200, 6
	for i := range runs * each {
		_, err := b.js.PublishAsync(stream.EventSubject(3, "fs-1", []byte("CHANNEL_HANGUP_COMPLETE")),
			fmt.Appendf(nil, "Event-Name: CHANNEL_HANGUP_COMPLETE\nCore-UUID: c\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\nUnique-ID: u%d\n\n", 1_700_000_000_000_000+i, i+1, i+1))
		b.must(err)
	}
	<-b.js.PublishAsyncComplete()
	batch, err := consumer.Fetch(runs*each, jetstream.FetchMaxWait(2*time.Minute))
	b.must(err)
	p := &partition{own: b.claim("a"), m: b.m, log: natstest.Logger(t), table: leg.NewTable(leg.DefaultParams()), full: make(chan struct{}, 1)}
	p.turn.L = &p.mu
	locked := func(f func()) {
		p.mu.Lock()
		defer p.mu.Unlock()
		f()
	}
	done := make(chan struct{})
	for run := range runs {
		locked(func() { p.batch = make([]byte, waitingBytes) })
		for range each {
			msg := <-batch.Messages()
			meta, err := msg.Metadata()
			b.must(err)
			go func() {
				p.step(msg)
				p.step(msg) // and some come twice
				done <- struct{}{}
			}()
			for entered := uint64(0); entered < meta.Sequence.Stream; time.Sleep(10 * time.Microsecond) {
				locked(func() { entered = p.entered })
			}
		}
		locked(func() { p.take(false, false) })
		for range each {
			<-done
		}
		var out []message
		locked(func() { out, _ = p.take(false, false) })
		samples, err := sample.Decode(out[0].batch)
		b.must(err)
		if len(samples) != each {
			t.Fatalf("%d samples, want %d", len(samples), each)
		}
		for i, s := range samples {
			if got, want := s.GetChannelId(), fmt.Sprint("u", run*each+i+1); got != want {
				t.Fatalf("sample %d is of %s, want %s", i, got, want)
			}
		}
	}
}
