package calculator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"google.golang.org/protobuf/proto"
)

// desk is a partition's table and journal, and the events that come to it.
type desk struct {
	*bench
	o     *ownership
	table *leg.Table
	journal
	now int // seconds, and the number of the last event
}

func newDesk(t *testing.T) *desk {
	b := newBench(t)
	return &desk{bench: b, o: b.claim("a"), table: leg.NewTable(leg.DefaultParams()), journal: journal{partition: 3}}
}

// event steps one event at a time in seconds.
func (d *desk) event(name, channel string) {
	d.t.Helper()
	d.now++
	raw := fmt.Sprintf("Event-Name: %s\nCore-UUID: c\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\n", name, 1_700_000_000_000_000+int64(d.now)*1e6, d.now)
	if channel != "" {
		raw += "Unique-ID: " + channel + "\n"
	}
	if got := d.table.Apply(uint64(d.now), "fs-1", []byte(raw+"\n"), func(*fsagentv1.Sample) {}); got != leg.Applied && got != leg.Late {
		d.t.Fatalf("%s of %s: %s", name, channel, got)
	}
}

// wait lets event time pass until what has ended is forgotten.
func (d *desk) wait() {
	d.now += 301
	d.event("HEARTBEAT", "")
}

func (d *desk) checkpoint(all bool) {
	d.t.Helper()
	d.must(d.o.write(d.t.Context(), checkpoint{cursor: uint64(d.now), cores: d.table.Cores(), entries: d.cut(d.table, all)}))
}

// successor claims the partition and loads what it finds.
func (d *desk) successor() (*leg.Table, journal) {
	d.t.Helper()
	o := d.claim("b")
	p := &partition{own: o, m: d.m, log: natstest.Logger(d.t), table: leg.NewTable(leg.DefaultParams())}
	d.must(p.load(d.t.Context(), d.store, 1))
	return p.table, p.journal
}

// content of a table, by leg.
func content(table *leg.Table) map[string]string {
	table.Touch()
	out := map[string]string{}
	for _, c := range table.Changes() {
		if c.State != nil {
			out[c.Key.UniqueID] = string(c.State)
		}
	}
	return out
}

func (d *desk) same(what string) {
	d.t.Helper()
	loaded, _ := d.successor()
	if got, want := content(loaded), content(d.table); !maps.Equal(got, want) {
		d.t.Errorf("%s: loaded %v, want %v", what, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	d.o = d.claim("a") // goes on
}

func (d *desk) keys() []string {
	d.t.Helper()
	var out []string
	d.must(d.store.values(d.t.Context(), stream.SegmentFilter(3), func(key string, _ []byte) { out = append(out, key) }))
	return out
}

// metric returns the values of a gauge by its labels.
func (d *desk) metric(name string) map[string]float64 {
	d.t.Helper()
	families, err := d.reg.Gather()
	d.must(err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if f.GetName() == name {
				out[strings.Join(labels, " ")] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// The metrics tell how many keys the legs of a partition have, with how many bytes,
// and how many markers of deleted ones there are.
func TestStateKeys(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for range 3 {
		d.event("CHANNEL_CREATE", fmt.Sprint("u", d.now))
		d.checkpoint(false)
	}
	is := func(what string, live, deleted float64) {
		t.Helper()
		d.m.setSegments(3, d.extent())
		d.m.measure(t.Context(), d.store)
		bytes := 0
		d.must(d.store.values(t.Context(), stream.SegmentFilter(3), func(_ string, value []byte) { bytes += len(value) }))
		for kind, want := range map[string]float64{"live": live, "deleted": deleted} {
			if got := d.metric("fsagent_state_keys")[kind+" 3"]; got != want {
				t.Errorf("%s: %v %s keys, want %v", what, got, kind, want)
			}
		}
		if got := d.metric("fsagent_state_bytes")["3"]; got != float64(bytes) || bytes == 0 {
			t.Errorf("%s: %v bytes, there are %d", what, got, bytes)
		}
	}
	is("three checkpoints", 3, 0)
	d.checkpoint(true)
	is("all written anew", 1, 3)
	d.m.letGo(3)
	d.m.measure(t.Context(), d.store)
	for _, name := range []string{"fsagent_state_keys", "fsagent_state_bytes"} {
		if m := d.metric(name); len(m) != 0 {
			t.Errorf("%s tells of a partition that is another's now: %v", name, m)
		}
	}
}

// Of all segments the last that speaks of a leg counts; what was forgotten stays
// so.
func TestJournal(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.same("nothing")
	d.event("CHANNEL_CREATE", "u1")
	d.event("CHANNEL_CREATE", "u2")
	d.checkpoint(false)
	d.event("CHANNEL_ANSWER", "u2")
	d.checkpoint(false)
	d.same("a leg that changed")
	d.event("CHANNEL_HANGUP_COMPLETE", "u1")
	d.checkpoint(false)
	d.wait()
	d.checkpoint(false)
	if live, ended := d.table.Len(); live != 1 || ended != 0 {
		t.Fatalf("%d live, %d ended, want u2 alone", live, ended)
	}
	// The record's cursor is past the end of u1 only now.
	loaded, _ := d.successor()
	if _, ended := loaded.Len(); ended != 1 {
		t.Errorf("u1 was given up together with the cursor, not after it")
	}
	d.o = d.claim("a")
	d.event("CHANNEL_ANSWER", "u2")
	d.checkpoint(false)
	d.same("u1 forgotten")
	d.checkpoint(true)
	d.same("all written anew")
	if keys := d.keys(); len(keys) != 1 {
		t.Errorf("the bucket has %v, want one segment", keys)
	}
}

// A leg that is forgotten and comes back before its end is said must not be
// forgotten with it.
func TestJournalComesBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.event("CHANNEL_CREATE", "u1")
	d.event("CHANNEL_HANGUP_COMPLETE", "u1")
	d.checkpoint(false)
	d.wait()
	d.checkpoint(false)
	d.event("CHANNEL_CREATE", "u1")
	d.checkpoint(false)
	d.same("u1 again")
	d.event("HEARTBEAT", "")
	d.checkpoint(false)
	d.same("u1 again, later")
}

// However legs come, change and go, and wherever a checkpoint breaks off: what is
// loaded is what the table had, and the bucket stays small.
func TestJournalAnyCourse(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 120 {
		for range r.IntN(40) {
			channel := fmt.Sprint("u", r.IntN(30))
			d.event([]string{"CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE"}[r.IntN(4)], channel)
		}
		if r.IntN(8) == 0 {
			d.wait()
		}
		if r.IntN(10) == 0 {
			// Cut off behind the segments: the states are ahead of the cursor.
			cut := d.cut(d.table, r.IntN(3) == 0)
			d.must(d.o.writeStates(t.Context(), cut.segments))
			var loaded *leg.Table
			loaded, d.journal = d.successor()
			d.o = d.claim("a")
			for id, state := range content(d.table) {
				if got := content(loaded)[id]; got != state {
					t.Fatalf("round %d: %s is %q, want %q", round, id, got, state)
				}
			}
			d.table = loaded
			// What it still has too much was forgotten with a cursor that is not
			// written; here no events follow that would say so.
			d.event("HEARTBEAT", "")
			d.checkpoint(true)
		}
		d.checkpoint(r.IntN(12) == 0)
		if len(d.keys()) > maxSegments+1 {
			t.Fatalf("round %d: %d segments", round, len(d.keys()))
		}
	}
	d.event("HEARTBEAT", "")
	d.checkpoint(true)
	d.same("in the end")
}

// Many legs make several segments, each far below the largest message.
func TestJournalManyLegs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i := range 8000 {
		d.event("CHANNEL_CREATE", fmt.Sprintf("%08d-0000-4000-8000-000000000000", i))
	}
	cut := d.cut(d.table, false)
	if len(cut.segments) < 4 {
		t.Errorf("%d segments of 8,000 legs", len(cut.segments))
	}
	for _, s := range cut.segments {
		if len(s.value) > maxSegment+1000 {
			t.Errorf("a segment has %d bytes", len(s.value))
		}
	}
	d.must(d.o.write(t.Context(), checkpoint{cursor: uint64(d.now), entries: cut}))
	d.same("8,000 legs")
}

// A state that cannot be read is said and counted, as is a whole segment; the
// others are loaded.
func TestStateUnreadable(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.event("CHANNEL_CREATE", "u1")
	var good fsagentv1.Segment
	d.must(proto.Unmarshal(d.cut(d.table, false).segments[0].value, &good))
	good.SetLegs(append([][]byte{[]byte("\xff\xff\xff")}, good.GetLegs()...))
	mixed, err := proto.Marshal(&good)
	d.must(err)
	d.must(d.o.write(t.Context(), checkpoint{cursor: 1, entries: entries{next: 2, segments: []state{
		{stream.SegmentKey(3, 0), []byte("\xff\xff\xff")}, {stream.SegmentKey(3, 1), mixed},
	}}}))
	loaded, _ := d.successor()
	if live, _ := loaded.Len(); live != 1 {
		t.Errorf("%d legs loaded, want 1", live)
	}
	if n := counterValue(t, d.m.rejects.WithLabelValues("state")); n != 2 {
		t.Errorf("%v unreadable states counted, want 2", n)
	}
}

// A segment that should be there and is not is said and counted; the partition
// goes on with the others.
func TestStateMissing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.event("CHANNEL_CREATE", "u1")
	d.checkpoint(false)
	d.event("CHANNEL_CREATE", "u2")
	d.checkpoint(false)
	d.must(d.store.kv.Delete(t.Context(), stream.SegmentKey(3, 0)))
	loaded, journal := d.successor()
	if live, _ := loaded.Len(); live != 1 || journal.next != 2 {
		t.Errorf("%d legs loaded, next segment %d, want 1 and 2", live, journal.next)
	}
	if n := counterValue(t, d.m.gaps.WithLabelValues(gapState)); n != 1 {
		t.Errorf("%v gaps counted, want 1", n)
	}

	// The next checkpoint writes what there is; those after it miss nothing.
	d.o, d.table, d.journal = d.claim("a"), loaded, journal
	d.event("CHANNEL_CREATE", "u3")
	d.checkpoint(false)
	d.same("after the hole")
	if n := counterValue(t, d.m.gaps.WithLabelValues(gapState)); n != 1 {
		t.Errorf("%v gaps counted, want still 1", n)
	}
}

// A partition that had no events knows how far the stream has gone on without it:
// what is removed then was none of its own.
func TestRest(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	publish := func(partition int) {
		_, err := d.js.Publish(t.Context(), stream.EventSubject(partition, "fs-1", []byte("X")), []byte("x"))
		d.must(err)
	}
	_, _, created, err := d.store.eventsNow(t.Context())
	d.must(err)
	d.stream = created
	d.o = d.claim("a")
	p := &partition{own: d.o, m: d.m, log: natstest.Logger(t), table: d.table, journal: journal{partition: 3}}
	rest := func() bool {
		tidy, err := p.rest(t.Context(), d.store)
		d.must(err)
		return tidy
	}
	publish(3)
	p.applied, p.steps = 1, 1
	publish(4)
	if rest() || !rest() || p.idle != 2 {
		t.Errorf("idle through %d, want 2", p.idle)
	}
	publish(3) // it has not come to us yet
	publish(4)
	rest()
	if rest(); p.idle != 2 {
		t.Errorf("idle through %d, but event 3 is not read", p.idle)
	}
	p.applied = 3
	if rest(); p.idle != 4 {
		t.Errorf("idle through %d, want 4", p.idle)
	}
	if rest() {
		t.Error("there is nothing to write, but it would")
	}
	d.must(d.js.DeleteStream(t.Context(), stream.Events))
	d.must(stream.Ensure(t.Context(), d.js, stream.DefaultSettings()))
	if _, err := p.rest(t.Context(), d.store); !errors.Is(err, errAnew) {
		t.Errorf("got %v, want errAnew", err)
	}
}
