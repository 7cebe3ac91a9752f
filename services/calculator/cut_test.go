package calculator

import (
	"errors"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"google.golang.org/protobuf/proto"
)

// real is the events stream as a claim finds it.
func (b *bench) real() source {
	b.t.Helper()
	record, _, err := b.store.owner(b.t.Context(), 3)
	b.must(err)
	src, err := b.store.source(b.t.Context(), 3, record)
	b.must(err)
	return src
}

// storedAt is when the server stored an event.
func (b *bench) storedAt(seq uint64) time.Time {
	b.t.Helper()
	msg, err := b.store.events.GetMsg(b.t.Context(), seq)
	b.must(err)
	return msg.Time
}

// The server has lost the end of the events stream, or all of it, and the stream is
// as old as before: what came since is stepped, whatever was read of what is lost.
func TestEventsCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		events int
		stored func(b *bench) time.Time // of the event at the cursor, 1000
		resume uint64
	}{
		{"some are left", 10, func(b *bench) time.Time { return b.storedAt(6) }, 6},
		{"lost since", 10, func(b *bench) time.Time { return b.storedAt(10).Add(time.Second) }, 10},
		{"all lost", 10, func(b *bench) time.Time { return b.storedAt(1).Add(-time.Second) }, 0},
		{"empty", 0, func(*bench) time.Time { return time.Now() }, 0},
		{"a record of before", 10, func(*bench) time.Time { return time.Time{} }, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.stream = d.store.events.CachedInfo().Created
			d.o = d.claim("b")
			d.event("CHANNEL_CREATE", "u1")
			d.checkpoint(false)
			d.ends(tc.events)
			d.must(d.publish(d.o, 1000))
			d.must(d.o.write(t.Context(), checkpoint{cursor: 1000, stored: tc.stored(d.bench)}))

			src := d.real()
			if !src.cut || src.resume != tc.resume {
				t.Fatalf("got %+v, want one that is cut and goes on behind %d", src, tc.resume)
			}
			record, revision, err := d.store.owner(t.Context(), 3)
			d.must(err)
			next, err := d.store.claim(t.Context(), 3, "c", record, revision, src, d.m, natstest.Logger(t))
			d.must(err)
			if !next.anew || next.record.GetCursor() != tc.resume || next.tail.Reach != (stream.Reach{Through: tc.resume}) {
				t.Errorf("anew %v, cursor %d, silent through %v", next.anew, next.record.GetCursor(), next.tail.Reach)
			}
			if src := d.real(); src.cut {
				t.Errorf("it is cut once more: %+v", src)
			}
			// It ends before its first checkpoint; and then the record is lost, too.
			if again := d.claim("d"); again.anew || again.tail.Through != tc.resume || again.events != next.events {
				t.Errorf("the claim after: anew %v, silent through %d", again.anew, again.tail.Through)
			}
			d.must(d.store.kv.Purge(t.Context(), stream.OwnerKey(3)))
			if last := d.claim("e"); last.tail.Through != tc.resume || last.events != next.events {
				t.Errorf("without a record: silent through %d", last.tail.Through)
			}
		})
	}
}

// What was lost is more than made up for: the event at the cursor is another one.
func TestEventsCutAndFilled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ends(3)
	p := b.partition()
	b.must(p.own.write(t.Context(), checkpoint{cursor: 3, stored: b.storedAt(3)}))
	if src := b.real(); src.cut {
		t.Errorf("got %+v, want a stream that is whole", src)
	}
	b.must(p.follows(t.Context(), b.store, 3, b.storedAt(3), 4))
	b.must(p.own.write(t.Context(), checkpoint{cursor: 3, stored: b.storedAt(2)}))
	if src := b.real(); !src.cut || src.resume != 2 {
		t.Errorf("got %+v, want one that is cut and goes on behind 2", src)
	}
	if err := p.follows(t.Context(), b.store, 3, b.storedAt(2), 4); !errors.Is(err, errAnew) {
		t.Errorf("got %v, want errAnew", err)
	}
	b.must(b.store.events.DeleteMsg(t.Context(), 3)) // as if it had aged out
	if src := b.real(); src.cut {
		t.Errorf("got %+v, though the event has left the stream", src)
	}
	// A calculator of before writes the cursor and not when its event was stored.
	b.ends(1)
	record := proto.CloneOf(p.own.record)
	record.SetCursor(4)
	b.must(p.own.writeRecord(t.Context(), record))
	if src := b.real(); src.cut {
		t.Errorf("got %+v, though the time is not known", src)
	}
}

// The checkpoint is older than what was lost, but samples of it are out: they do not
// silence what has their sequences now.
func TestTailOfEventsCut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stream = b.store.events.CachedInfo().Created
	b.ends(5)
	o := b.claim("a")
	b.must(o.write(t.Context(), checkpoint{cursor: 3, stored: b.storedAt(3)}))
	b.must(b.publish(o, 1000))
	b.ends(5)
	src := b.real()
	if src.cut {
		t.Fatal("the cursor is in the stream")
	}
	for _, id := range []string{"b", "c"} {
		record, revision, err := b.store.owner(t.Context(), 3)
		b.must(err)
		next, err := b.store.claim(t.Context(), 3, id, record, revision, src, b.m, natstest.Logger(t))
		b.must(err)
		if next.anew || next.tail.Through != 5 || next.record.GetCursor() != 3 {
			t.Errorf("%s: anew %v, silent through %d, cursor %d", id, next.anew, next.tail.Through, next.record.GetCursor())
		}
	}
}

// An owner to whom nothing comes finds that the stream ends before what it has read.
func TestRestFindsEventsCut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ends(10)
	p := b.partition()
	p.table, p.applied = leg.NewTable(leg.DefaultParams()), 10
	if _, err := p.rest(t.Context(), b.store); err != nil {
		t.Errorf("at the end of the stream: got %v", err)
	}
	p.applied = 11
	if _, err := p.rest(t.Context(), b.store); !errors.Is(err, errAnew) {
		t.Errorf("behind the end of the stream: got %v, want errAnew", err)
	}
}
