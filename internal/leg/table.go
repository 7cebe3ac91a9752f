// Package leg is the step of the calculator: it takes the events of one
// partition in stream order, keeps what must be remembered of each call leg, and
// gives out the samples that each event makes.
//
// It is a pure function of the events: no clock, no random number, no order of
// a map, no network. The same events make the same samples, whatever other legs
// do in between, whether events come twice, and wherever the state was saved and
// loaded. No input makes it fail; an event that cannot be understood changes
// nothing and is named by its Outcome.
package leg

import (
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/emodel"
	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// Key identifies a leg: Unique-ID alone is not unique over restarts. Both as
// FreeSWITCH sent them (percent-encoded).
type Key struct{ CoreUUID, UniqueID string }

// Change is a leg state to be stored, or a leg of which nothing is to be kept.
type Change struct {
	Key   Key
	State []byte // encoded LegState; nil: the leg is forgotten
}

// Table is the state of one partition: the legs that live, those that ended a
// short while ago, and the clock of each FreeSWITCH process (Core-UUID). It is
// not safe for use by several goroutines.
type Table struct {
	params  Params
	linger  int64 // microseconds, as is maxAge
	maxAge  int64
	quality [2]*emodel.Model // by direction - 1

	assumed map[emodel.Assumed][]fsagentv1.Assumption
	trace   func(Step)
	told    Step // what trace will be given

	cores   map[string]*core
	met     uint64 // how many cores were met
	last    *core  // that of the event before: most events come in runs
	live    int
	ended   int
	changed []*leg // dirty legs, in the order in which they became so
	gone    []Key  // legs removed since the last Changes, in order
	slab    []slot
}

// NewTable makes an empty table.
func NewTable(p Params) *Table {
	return &Table{
		params:  p,
		linger:  p.Linger.Microseconds(),
		maxAge:  p.MaxAge.Microseconds(),
		quality: [2]*emodel.Model{emodel.NewModel(p.Inbound), emodel.NewModel(p.Outbound)},
		assumed: make(map[emodel.Assumed][]fsagentv1.Assumption),
		cores:   make(map[string]*core),
	}
}

// Len returns how many legs are alive and how many are remembered after their
// end.
func (t *Table) Len() (live, ended int) { return t.live, t.ended }

// cause is the event that is being applied.
type cause struct {
	seq  uint64
	e    event.Event
	emit func(*fsagentv1.Sample)
	// made by a collector: its time is not of the clock of FreeSWITCH's events,
	// which may be far from the one that the collector can ask for.
	made bool
	now  int64 // on the clock of its core, microseconds since 1970
}

// news reports whether the event was not yet in the state the leg was loaded
// with.
func (ev cause) news(l *leg) bool { return ev.seq > l.loaded }

// Apply steps one event. seq is the sequence of its message in the events
// stream (several events of one packed message share it), instance the
// FreeSWITCH server it came from. Samples go to emit, which may keep them. raw
// is not kept.
//
// An event at or before the sequence with which its leg was loaded is Replayed:
// its samples are out already.
func (t *Table) Apply(seq uint64, instance string, raw []byte, emit func(*fsagentv1.Sample)) Outcome {
	e, err := event.Parse(raw)
	if err != nil {
		return Malformed
	}
	id := e.ID()
	kind := kindOf(id.Name)
	if kind == unknown {
		return UnknownEvent
	}
	c := t.core(id.CoreUUID, instance)
	if c == nil {
		return Malformed
	}
	ev := cause{seq: seq, e: e, emit: emit, made: kind == snapshot || kind == gap}
	ev.now = t.advance(c, ev)
	switch kind {
	case ofInstance:
		return Applied
	case snapshot:
		return t.reconcile(c, ev)
	case gap:
		return t.miss(c, ev)
	}
	if len(id.UniqueID) == 0 {
		return NoUniqueID
	}
	outcome := t.ofLeg(c, kind, ev)
	if t.trace != nil {
		t.tell(c, ev, outcome)
	}
	return outcome
}

// ofLeg applies an event of a leg.
func (t *Table) ofLeg(c *core, kind kind, ev cause) Outcome {
	id := ev.e.ID()
	l := c.legs[string(id.UniqueID)]
	switch {
	case l == nil:
		if happened(ev.e, kind) < ev.now-t.linger {
			return Late
		}
		if !plain(id.UniqueID) {
			return Malformed
		}
		l = newLeg(c, string(id.UniqueID))
	case !ev.news(l):
		return Replayed
	case l.recent.has(id.Sequence):
		return Duplicate
	case l.endedClock != 0 && !l.endUnknown && !begins(ev.e, kind, l):
		if kind == message {
			return AfterEnd
		}
		return Applied // CHANNEL_DESTROY always comes; it has nothing to add
	}
	return t.step(c, l, kind, ev)
}

// step applies an event that is new to its leg. A leg that the table does not
// have yet gets in only if the event could be read.
func (t *Table) step(c *core, l *leg, kind kind, ev cause) Outcome {
	e := ev.e
	var r rtcp.Report
	if kind == message {
		var err error
		if r, err = rtcp.Parse(e, l.ownSSRC); err != nil {
			return MalformedReport
		}
	}
	if l.endedClock != 0 {
		t.revive(c, l, begins(e, kind, l))
	}
	l.lastEvent = max(l.lastEvent, e.ID().TimeUS)
	if l.index < 0 {
		t.adopt(c, l)
		l.inherit(c, kind, e.ID().TimeUS, t.maxAge)
	}
	ends := kind == hangup || kind == destroy
	if kind == message {
		if s := t.report(l, r, e); s != nil {
			ev.emit(s)
		}
	} else {
		l.identify(e, kind)
		if ends {
			s := t.legEnd(l, e)
			if t.trace != nil {
				t.told.Sample = s
			}
			ev.emit(s)
		}
	}
	l.recent.add(e.ID().Sequence)
	l.applied, l.clock = ev.seq, c.clock
	if ends {
		t.end(c, l)
	}
	t.touch(l)
	return Applied
}

// touch notes that the leg must be written.
func (t *Table) touch(l *leg) {
	if !l.dirty {
		l.dirty = true
		t.changed = append(t.changed, l)
	}
}

// Has reports whether the table remembers a leg.
func (t *Table) Has(k Key) bool {
	c := t.cores[k.CoreUUID]
	return c != nil && c.legs[k.UniqueID] != nil
}

// Touch counts every leg as changed.
func (t *Table) Touch() {
	for _, c := range t.sorted() {
		for _, l := range c.queue {
			t.touch(l)
		}
	}
}

// Changes returns the legs that changed since the last call, each once and in
// the order in which they changed, and then those that were forgotten. Before a
// leg is stored, the samples of its events must be published: it will not make
// them again.
func (t *Table) Changes() []Change {
	out := make([]Change, 0, len(t.changed)+len(t.gone))
	for _, l := range t.changed {
		l.dirty = false
		if l.index >= 0 { // else removed since
			out = append(out, Change{Key: l.key(), State: l.encode()})
		}
	}
	for _, k := range t.gone {
		if !t.Has(k) {
			out = append(out, Change{Key: k})
		}
	}
	clear(t.changed)
	if t.changed = t.changed[:0]; cap(t.changed) > manyLegs && len(out) < cap(t.changed)/4 {
		t.changed = nil
	}
	t.gone = nil
	return out
}

// Discard forgets what has changed, for a table whose state nobody writes.
func (t *Table) Discard() {
	for _, l := range t.changed {
		l.dirty = false
	}
	clear(t.changed)
	t.changed, t.gone = t.changed[:0], nil
}
