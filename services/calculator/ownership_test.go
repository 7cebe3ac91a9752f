package calculator

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// bench is a server with streams, and what claims need.
type bench struct {
	t      *testing.T
	srv    *natstest.Server
	js     jetstream.JetStream
	store  *store
	m      *metrics
	stream time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	s, err := openStore(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, srv: srv, js: js, store: s, m: newMetrics(prometheus.NewRegistry(), 16), stream: time.UnixMicro(1_000_000)}
}

func (b *bench) claim(id string) *ownership {
	b.t.Helper()
	record, revision, err := b.store.owner(b.t.Context(), 3)
	if err != nil {
		b.t.Fatal(err)
	}
	o, err := b.store.claim(b.t.Context(), 3, id, record, revision, b.stream, b.m, natstest.Logger(b.t))
	if err != nil {
		b.t.Fatal(err)
	}
	return o
}

func (b *bench) publish(o *ownership, through uint64) error {
	return o.publish(b.t.Context(), []byte{}, through)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) lost(what string, err error) {
	b.t.Helper()
	if !errors.Is(err, errLost) {
		b.t.Errorf("%s: got %v, want errLost", what, err)
	}
}

func (b *bench) messages() uint64 {
	b.t.Helper()
	info, err := b.store.samples.Info(b.t.Context())
	b.must(err)
	return info.State.Msgs
}

// Of two that claim the same record one wins, and the other learns it at once.
func TestClaimRace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	record, revision, err := b.store.owner(t.Context(), 3)
	b.must(err)
	results := make(chan error, 8)
	for i := range 8 {
		go func() {
			_, err := b.store.claim(t.Context(), 3, fmt.Sprint("c", i), record, revision, b.stream, b.m, natstest.Logger(t))
			results <- err
		}()
	}
	won := 0
	for range 8 {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, errLost):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 won the claim", won)
	}
}

// A paused owner that wakes up is refused by both chains: its samples by the
// tail, its states and its record by the owner key.
func TestSuccessorFencesOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := b.claim("old")
	b.must(b.publish(old, 10))
	b.must(old.write(t.Context(), checkpoint{cursor: 10, states: []state{{"leg.3.c.a", []byte("1")}}}))
	b.must(b.publish(old, 20))

	next := b.claim("next")
	if next.record.GetCursor() != 10 || next.tail.through != 20 || next.epoch != old.epoch+1 {
		t.Errorf("the successor starts at %d, silent up to %d, epoch %d", next.record.GetCursor(), next.tail.through, next.epoch)
	}
	before := b.messages()
	b.lost("samples", b.publish(old, 30))
	b.lost("a state", old.writeStates(t.Context(), []state{{"leg.3.c.a", []byte("2")}}, false))
	b.lost("a deletion", old.writeStates(t.Context(), []state{{key: "leg.3.c.a"}}, true))
	b.lost("the cursor", old.write(t.Context(), checkpoint{cursor: 30}))
	b.lost("the release", old.release(t.Context()))
	if got := b.messages(); got != before {
		t.Errorf("%d messages came in", got-before)
	}
	entry, err := b.store.kv.Get(t.Context(), "leg.3.c.a")
	if err != nil || string(entry.Value()) != "1" {
		t.Errorf("the state is %v, %v", entry, err)
	}
	b.must(b.publish(next, 30))
}

// The outcome of a flush is unknown to its writer: the message was stored, but
// the answer did not arrive. Asking the tail tells; nothing is stored twice.
func TestUnknownOutcomeStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(b.publish(o, 10))
	before := o.tail
	b.must(b.publish(o, 20))
	stored := b.messages()
	o.tail = before // as if the answer had been lost
	b.must(b.publish(o, 20))
	if got := b.messages(); got != stored {
		t.Errorf("%d messages, want %d", got, stored)
	}
	b.must(b.publish(o, 30))
}

// While the server is away publish waits; it ends when the message is in, or
// with the context.
func TestPublishOverRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	restart := b.srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := o.publish(ctx, nil, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	done := make(chan error, 1)
	go func() { done <- o.publish(t.Context(), nil, 10) }()
	restart()
	b.must(<-done)
	if o.tail.through != 10 {
		t.Errorf("the tail is %+v", o.tail)
	}
}

// All samples have aged out: the owner claims anew, and the record's published
// stands in for the tail.
func TestSamplesAgedOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(b.publish(o, 10))
	b.must(o.write(t.Context(), checkpoint{cursor: 10}))
	b.must(b.store.samples.Purge(t.Context()))
	b.lost("samples on a tail that is gone", b.publish(o, 20))
	if next := b.claim("a"); next.tail.through != 10 {
		t.Errorf("silent up to %d, want 10", next.tail.through)
	}
}

// The bucket was made anew under an owner.
func TestRecordGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(b.store.kv.Purge(t.Context(), stream.OwnerKey(3)))
	b.lost("the cursor", o.write(t.Context(), checkpoint{cursor: 10}))
}

// The events stream was made anew: sequences begin again, and what the record
// says of the old ones must not silence the new.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(b.publish(o, 1000))
	b.must(o.write(t.Context(), checkpoint{cursor: 1000, cores: []*fsagentv1.Core{{}}}))
	b.stream = b.stream.Add(time.Hour)
	next := b.claim("b")
	if !next.anew || next.record.GetCursor() != 0 || next.tail.through != 0 || len(next.record.GetCores()) != 0 {
		t.Errorf("anew %v, cursor %d, silent up to %d", next.anew, next.record.GetCursor(), next.tail.through)
	}
	if again := b.claim("c"); again.anew || again.tail.through != 0 {
		t.Errorf("anew %v, silent up to %d", again.anew, again.tail.through)
	}
}

// A deletion leaves a marker that goes away by itself.
func TestDeletionMarkerHasTTL(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(o.write(t.Context(), checkpoint{cursor: 1, states: []state{{"leg.3.c.a", []byte("1")}}}))
	b.must(o.write(t.Context(), checkpoint{cursor: 2, states: []state{{key: "leg.3.c.a"}}}))
	if _, err := b.store.kv.Get(t.Context(), "leg.3.c.a"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("got %v, want ErrKeyNotFound", err)
	}
	s, err := b.js.Stream(t.Context(), stream.StateStream)
	b.must(err)
	msg, err := s.GetLastMsgForSubject(t.Context(), stream.StateSubject("leg.3.c.a"))
	b.must(err)
	if msg.Header.Get(jetstream.MsgTTLHeader) == "" {
		t.Errorf("the marker stays for ever: %v", msg.Header)
	}
}

func TestTailWithoutHeaders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: stream.SampleSubject(3), Data: []byte("foreign")})
	b.must(err)
	o := &ownership{samples: b.store.samples, partition: 3}
	if _, err := o.readTail(t.Context()); err == nil {
		t.Error("a foreign message was taken for samples")
	}
}

// Events have left the stream before they were read: said, counted, and the
// partition goes on with what is there.
func TestEventsAgedOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(o.write(t.Context(), checkpoint{cursor: 10}))
	p := &partition{own: o, m: b.m, log: natstest.Logger(t), table: leg.NewTable(leg.DefaultParams()), applied: 10}
	b.must(p.load(t.Context(), b.store, 500))
	if n := counterValue(t, b.m.gaps); n != 1 {
		t.Errorf("%v gaps counted, want 1", n)
	}
	b.must(p.load(t.Context(), b.store, 11))
	if n := counterValue(t, b.m.gaps); n != 1 {
		t.Errorf("%v gaps counted, want 1: nothing is missing", n)
	}
}

// A state that cannot be read is said and counted; the others are loaded.
func TestStateUnreadable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	table := leg.NewTable(leg.DefaultParams())
	event := "Event-Name: CHANNEL_CREATE\nCore-UUID: c\nEvent-Date-Timestamp: 1700000000000000\nEvent-Sequence: 1\nUnique-ID: u\n\n"
	if got := table.Apply(1, "fs-1", []byte(event), func(*fsagentv1.Sample) {}); got != leg.Applied {
		t.Fatal(got)
	}
	b.must(o.write(t.Context(), checkpoint{cursor: 1, states: []state{
		{"leg.3.c.bad", []byte("\xff\xff\xff")}, {"leg.3.c.u", table.Changes()[0].State},
	}}))
	p := &partition{own: o, m: b.m, log: natstest.Logger(t), table: leg.NewTable(leg.DefaultParams()), applied: 1}
	b.must(p.load(t.Context(), b.store, 1))
	if live, _ := p.table.Len(); live != 1 {
		t.Errorf("%d legs loaded, want 1", live)
	}
	if n := counterValue(t, b.m.rejects.WithLabelValues("state")); n != 1 {
		t.Errorf("%v unreadable states counted, want 1", n)
	}
}

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
