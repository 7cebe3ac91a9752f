package calculator

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	reg    *prometheus.Registry
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
	reg := prometheus.NewRegistry()
	return &bench{t: t, srv: srv, js: js, store: s, m: newMetrics(reg, 16), reg: reg, stream: time.UnixMicro(1_000_000)}
}

// source is an events stream that has every event a test speaks of.
func (b *bench) source() source { return source{created: b.stream, last: math.MaxUint64} }

func (b *bench) claim(id string) *ownership {
	b.t.Helper()
	record, revision, err := b.store.owner(b.t.Context(), 3)
	if err != nil {
		b.t.Fatal(err)
	}
	o, err := b.store.claim(b.t.Context(), 3, id, record, revision, b.source(), b.m, natstest.Logger(b.t))
	if err != nil {
		b.t.Fatal(err)
	}
	return o
}

func (b *bench) publish(o *ownership, through uint64) error {
	return o.publish(b.t.Context(), []message{{reach: stream.Reach{Through: through}}})
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

// A partition that moves on while it is being claimed is let go, at whatever point
// that is: the next owner would wait (handOver) for this one, which lives.
func TestMovesOnDuringClaim(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, err := New(DefaultConfig(), b.js.Conn(), 16, natstest.Logger(t), prometheus.NewRegistry())
	b.must(err)
	claims := 0
	for i := range 40 {
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.runPartition(ctx, b.store, 3) }()
		if i%2 == 0 { // as soon as the claim shows; else at various points before and in it
			for {
				record, _, err := b.store.owner(t.Context(), 3)
				b.must(err)
				if record.GetOwner() == c.id {
					break
				}
			}
		} else {
			time.Sleep(time.Duration(i) * 50 * time.Microsecond)
		}
		cancel(errMoved)
		if err := <-ended; err != nil && !errors.Is(err, errMoved) && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		record, _, err := b.store.owner(t.Context(), 3)
		b.must(err)
		if record.GetOwner() != "" {
			t.Fatalf("run %d: the partition still belongs to %s", i, record.GetOwner())
		}
		claims = int(record.GetEpoch())
	}
	if claims < 20 {
		t.Errorf("%d of 40 had claimed, want at least those that waited for it", claims)
	}
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
			_, err := b.store.claim(t.Context(), 3, fmt.Sprint("c", i), record, revision, b.source(), b.m, natstest.Logger(t))
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
	b.must(old.write(t.Context(), checkpoint{cursor: 10, entries: entries{segments: []state{{"segment.3.0", []byte("1")}}, next: 1}}))
	b.must(b.publish(old, 20))

	next := b.claim("next")
	if next.record.GetCursor() != 10 || next.tail.Through != 20 || next.epoch != old.epoch+1 {
		t.Errorf("the successor starts at %d, silent up to %d, epoch %d", next.record.GetCursor(), next.tail.Through, next.epoch)
	}
	before := b.messages()
	b.lost("samples", b.publish(old, 30))
	b.lost("a segment", old.writeStates(t.Context(), []state{{"segment.3.0", []byte("2")}}))
	b.lost("a deletion", old.writeStates(t.Context(), []state{{key: "segment.3.0"}}))
	b.lost("the cursor", old.write(t.Context(), checkpoint{cursor: 30}))
	b.lost("the release", old.release(t.Context()))
	if got := b.messages(); got != before {
		t.Errorf("%d messages came in", got-before)
	}
	entry, err := b.store.kv.Get(t.Context(), "segment.3.0")
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
	ten := []message{{reach: stream.Reach{Through: 10}}}
	if err := o.publish(ctx, ten); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	done := make(chan error, 1)
	go func() { done <- o.publish(t.Context(), ten) }()
	restart()
	b.must(<-done)
	if o.tail.Through != 10 {
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
	if next := b.claim("a"); next.tail.Through != 10 {
		t.Errorf("silent up to %d, want 10", next.tail.Through)
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

// The events stream was made anew: sequences begin again, and what the record and
// the states say of the old ones must not silence the new, nor must what a
// checkpoint has written that was not finished.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.event("CHANNEL_CREATE", "u1")
	d.checkpoint(false)
	d.must(d.publish(d.o, 1000))
	d.must(d.o.write(t.Context(), checkpoint{cursor: 1000, cores: []*fsagentv1.Core{{}}, entries: entries{next: 1}}))
	d.event("CHANNEL_CREATE", "u2")
	d.must(d.o.writeStates(t.Context(), d.cut(d.table, false).segments))
	d.stream = d.stream.Add(time.Hour)
	next := d.claim("b")
	if !next.anew || next.record.GetCursor() != 0 || next.tail.Through != 0 || len(next.record.GetCores()) != 0 {
		t.Errorf("anew %v, cursor %d, silent up to %d", next.anew, next.record.GetCursor(), next.tail.Through)
	}
	// It ends before its first checkpoint.
	if again := d.claim("c"); again.anew || again.tail.Through != 0 {
		t.Errorf("anew %v, silent up to %d", again.anew, again.tail.Through)
	}
	loaded, journal := d.successor()
	if live, ended := loaded.Len(); live+ended != 0 || len(journal.waste) != 2 {
		t.Errorf("%d legs of the old stream were loaded, %d segments are waste", live+ended, len(journal.waste))
	}
}

// What the last samples say of an events stream that is no more silences none of the
// new one, also if the record does not tell: because the claim that found the new
// stream got no further than its record, or because there is none.
func TestTailOfAnotherStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.publish(b.claim("a"), 1000))
	b.stream = b.stream.Add(time.Hour)
	cut := b.claim("b")
	b.must(b.store.samples.DeleteMsg(t.Context(), cut.tail.sequence))
	next := b.claim("c")
	if next.anew || next.tail.Through != 0 || next.epoch != cut.epoch+1 {
		t.Errorf("behind a claim that was cut: silent up to %d, epoch %d after %d", next.tail.Through, next.epoch, cut.epoch)
	}
	b.must(b.publish(next, 500))
	b.stream = b.stream.Add(time.Hour)
	b.must(b.store.kv.Purge(t.Context(), stream.OwnerKey(3)))
	if last := b.claim("d"); last.tail.Through != 0 || last.epoch != next.epoch+1 {
		t.Errorf("without a record: silent up to %d, epoch %d after %d", last.tail.Through, last.epoch, next.epoch)
	}
}

// A message with a part of an event's samples is carried on by the next claim, unless
// the record knows of more.
func TestClaimInsideEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(o.publish(t.Context(), []message{{reach: stream.Reach{Through: 10, Part: 5}}, {reach: stream.Reach{Through: 10, Part: 9}}}))
	o = b.claim("b")
	if want := (stream.Reach{Through: 10, Part: 9}); o.tail.Reach != want {
		t.Errorf("silent up to %v, want %v", o.tail.Reach, want)
	}
	if o = b.claim("c"); o.tail.Part != 9 {
		t.Errorf("silent up to %v after another claim", o.tail.Reach)
	}
	b.must(o.write(t.Context(), checkpoint{cursor: 11}))
	if o, want := b.claim("d"), (stream.Reach{Through: 11}); o.tail.Reach != want {
		t.Errorf("silent up to %v, want %v", o.tail.Reach, want)
	}
}

// A deletion leaves a marker that goes away by itself.
func TestDeletionMarkerHasTTL(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.claim("a")
	b.must(o.write(t.Context(), checkpoint{cursor: 1, entries: entries{segments: []state{{"segment.3.0", []byte("1")}}, next: 1}}))
	b.must(o.write(t.Context(), checkpoint{cursor: 2, entries: entries{first: 1, next: 1, waste: []string{"segment.3.0"}}}))
	if _, err := b.store.kv.Get(t.Context(), "segment.3.0"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("got %v, want ErrKeyNotFound", err)
	}
	s, err := b.js.Stream(t.Context(), stream.StateStream)
	b.must(err)
	msg, err := s.GetLastMsgForSubject(t.Context(), stream.StateSubject("segment.3.0"))
	b.must(err)
	if msg.Header.Get(jetstream.MsgTTLHeader) == "" {
		t.Errorf("the marker stays for ever: %v", msg.Header)
	}
}

// The bucket was lost and the samples were not: the next epoch is above theirs, and
// what is out already is not published again.
func TestBucketLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 3 {
		b.claim("a")
	}
	o := b.claim("a")
	b.must(b.publish(o, 10))
	b.must(b.store.kv.Purge(t.Context(), stream.OwnerKey(3)))
	if next := b.claim("b"); next.epoch != o.epoch+1 || next.tail.Through != 10 || next.record.GetCursor() != 0 {
		t.Errorf("epoch %d after %d, silent up to %d, cursor %d", next.epoch, o.epoch, next.tail.Through, next.record.GetCursor())
	}
}

// A message of somebody else on the subject of samples is said and counted; the
// chain goes on behind it from what calculators wrote before.
func TestForeignSamples(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	foreign := func() {
		_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: stream.SampleSubject(3), Data: []byte("foreign")})
		b.must(err)
	}
	foreign()
	o := b.claim("a")
	if o.tail.Through != 0 {
		t.Errorf("silent up to %d with nothing published", o.tail.Through)
	}
	b.must(b.publish(o, 5))
	b.must(o.write(t.Context(), checkpoint{cursor: 5, tail: o.tail.sequence}))
	foreign()
	o = b.claim("a")
	b.must(b.publish(o, 10))
	foreign()
	foreign()
	b.lost("samples on a tail that is not ours", b.publish(o, 20))
	next := b.claim("a")
	if next.tail.Through != 10 {
		t.Errorf("silent up to %d, want 10", next.tail.Through)
	}
	b.must(b.publish(next, 20))
	if n := counterValue(t, b.m.rejects.WithLabelValues("samples")); n == 0 {
		t.Error("foreign messages were not counted")
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
	if n := counterValue(t, b.m.gaps.WithLabelValues(gapEvents)); n != 1 {
		t.Errorf("%v gaps counted, want 1", n)
	}
	b.must(p.load(t.Context(), b.store, 11))
	p.idle = 499 // it was idle until then
	b.must(p.load(t.Context(), b.store, 500))
	if n := counterValue(t, b.m.gaps.WithLabelValues(gapEvents)); n != 1 {
		t.Errorf("%v gaps counted, want 1: nothing is missing", n)
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
