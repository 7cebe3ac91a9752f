package calculator

import (
	"errors"
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
	b.ends(runs * each)
	batch, err := consumer.Fetch(runs*each, jetstream.FetchMaxWait(2*time.Minute))
	b.must(err)
	p := b.partition()
	done := make(chan struct{})
	for run := range runs {
		p.locked(func() { p.batch = make([]byte, waitingBytes) })
		for range each {
			msg := <-batch.Messages()
			meta, err := msg.Metadata()
			b.must(err)
			go func() {
				p.receive(t.Context(), b.store, msg)
				p.receive(t.Context(), b.store, msg) // and some come twice
				done <- struct{}{}
			}()
			p.awaitEntered(meta.Sequence.Stream)
		}
		p.locked(func() { p.take(false, false) })
		for range each {
			<-done
		}
		var out []message
		p.locked(func() { out, _ = p.take(false, false) })
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

// The connection breaks while the first message of a consumer is looked at, and the
// next consumer begins behind it: it is stepped first, however long it waits for NATS.
func TestFirstMessagesWaitInTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ends(2)
	first, second := b.firstFrom(1), b.firstFrom(2)
	p := b.partition()
	restart := b.srv.Stop()
	done := make(chan struct{})
	receive := func(msg jetstream.Msg) {
		p.receive(t.Context(), b.store, msg)
		done <- struct{}{}
	}
	go receive(first)
	p.awaitEntered(1)
	// It asks after 50 ms, 100 ms, 200 ms and so on; then the other is in time.
	time.Sleep(500 * time.Millisecond)
	restart()
	for end := time.Now().Add(2 * time.Minute); !b.js.Conn().IsConnected() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	go receive(second)
	<-done
	<-done
	out, _ := p.take(false, false)
	samples, err := sample.Decode(out[0].batch)
	b.must(err)
	if len(samples) != 2 || samples[0].GetChannelId() != "u1" || samples[1].GetChannelId() != "u2" {
		t.Errorf("got %v, want those of u1 and u2", samples)
	}
}

// An event that came into the client and no further is noticed by the next consumer.
func TestSkippedEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ends(2)
	p := b.partition()
	p.receive(t.Context(), b.store, b.firstFrom(2))
	if err := <-p.broken; !errors.Is(err, errSkipped) || p.applied != 0 {
		t.Errorf("got %v, and %d applied; want errSkipped and none", err, p.applied)
	}
}

// A consumer that is dead in the client brings nothing, though there are events.
func TestRestFindsDeadConsumer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ends(2)
	p := b.partition()
	for i := range dueRests + 1 { // the first only learns where the stream ends
		if _, err := p.rest(t.Context(), b.store); (i == dueRests) != errors.Is(err, errSkipped) {
			t.Errorf("rest %d: got %v", i, err)
		}
	}
	p = b.partition()
	p.entered = 1 // it came, and waits until samples are out
	for range dueRests + 2 {
		if _, err := p.rest(t.Context(), b.store); err != nil {
			t.Errorf("while an event waits: got %v", err)
		}
	}
}

// ends publishes the ends of so many legs, u1 and so on, in one partition.
func (b *bench) ends(n int) {
	b.t.Helper()
	for i := range n {
		_, err := b.js.PublishAsync(stream.EventSubject(3, "fs-1", []byte("CHANNEL_HANGUP_COMPLETE")),
			fmt.Appendf(nil, "Event-Name: CHANNEL_HANGUP_COMPLETE\nCore-UUID: c\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\nUnique-ID: u%d\n\n", 1_700_000_000_000_000+i, i+1, i+1))
		b.must(err)
	}
	<-b.js.PublishAsyncComplete()
}

// firstFrom is the first message of a consumer of its own.
func (b *bench) firstFrom(seq uint64) jetstream.Msg {
	b.t.Helper()
	consumer, err := b.js.CreateConsumer(b.t.Context(), stream.Events, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq,
	})
	b.must(err)
	msg, err := consumer.Next(jetstream.FetchMaxWait(2 * time.Minute))
	b.must(err)
	return msg
}

// partition is one that was claimed, of which nothing was read.
func (b *bench) partition() *partition {
	b.t.Helper()
	b.stream = b.store.events.CachedInfo().Created
	p := &partition{own: b.claim("a"), m: b.m, log: natstest.Logger(b.t), table: leg.NewTable(leg.DefaultParams()), full: make(chan struct{}, 1), broken: make(chan error, 1)}
	p.turn.L = &p.mu
	return p
}

func (p *partition) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// awaitEntered waits until a message has been received.
func (p *partition) awaitEntered(seq uint64) {
	for entered := uint64(0); entered < seq; time.Sleep(10 * time.Microsecond) {
		p.locked(func() { entered = p.entered })
	}
}
