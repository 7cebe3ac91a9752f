package leg

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// core is one life of one FreeSWITCH process, as the partition has seen it.
type core struct {
	uuid     string
	instance string
	order    uint64 // in which the partition met the cores; 0 before the first event
	clock    int64  // latest Event-Date-Timestamp, microseconds since 1970
	sequence uint64 // greatest Event-Sequence
	// witness is another core that has had events since this one's last, and
	// witnessClock its clock at the first of them.
	witness      string
	witnessClock int64
	dropped      dropped
	legs         map[string]*leg
	queue        []*leg // a heap by due: which leg to look at next
	most         int    // legs since shrink last did something
}

// sweepEvery is the event time between looks at the other cores.
const sweepEvery = int64(time.Hour / time.Microsecond)

// LoadCores sets the clocks of the cores, as Cores gave them. It is to be called
// before the first Apply.
func (t *Table) LoadCores(cores []*fsagentv1.Core) {
	for _, m := range cores {
		c := t.core([]byte(m.GetCoreUuid()), m.GetFsInstance())
		if c == nil {
			continue
		}
		c.clock, c.sequence = max(c.clock, m.GetClockUs()), max(c.sequence, m.GetSequence())
		c.order, t.met = m.GetOrder(), max(t.met, m.GetOrder())
		c.witness, c.witnessClock = m.GetWitness(), m.GetWitnessUs()
		c.dropped = dropped{from: m.GetGapFromUs(), to: m.GetGapToUs(), lost: lost(m.GetGapLost())}
	}
}

// Cores returns what is known of each FreeSWITCH process, sorted by Core-UUID.
func (t *Table) Cores() []*fsagentv1.Core {
	out := make([]*fsagentv1.Core, 0, len(t.cores))
	for _, c := range t.cores {
		out = append(out, fsagentv1.Core_builder{
			CoreUuid: c.uuid, FsInstance: c.instance, ClockUs: c.clock, Sequence: c.sequence, Order: c.order, Witness: c.witness, WitnessUs: c.witnessClock,
			GapFromUs: c.dropped.from, GapToUs: c.dropped.to, GapLost: uint32(c.dropped.lost),
		}.Build())
	}
	slices.SortFunc(out, func(a, b *fsagentv1.Core) int { return cmp.Compare(a.GetCoreUuid(), b.GetCoreUuid()) })
	return out
}

// core finds a core or makes it. It returns nil for a Core-UUID that FreeSWITCH
// cannot have sent.
func (t *Table) core(uuid []byte, instance string) *core {
	c := t.last
	if c == nil || c.uuid != string(uuid) {
		if c = t.cores[string(uuid)]; c == nil {
			if !plain(uuid) {
				return nil
			}
			c = &core{uuid: string(uuid), legs: make(map[string]*leg)}
			t.cores[c.uuid] = c
		}
		t.last = c
	}
	if c.instance != instance && instance != "" {
		c.instance = strings.ToValidUTF8(strings.Clone(instance), "")
	}
	return c
}

// maxID bounds an id; a UUID has 36 bytes, a SIP Call-ID seldom more than 100.
const maxID = 512

// plain reports whether an id is what FreeSWITCH sends: percent-encoded, so
// printable ASCII, and not endless.
func plain(id []byte) bool {
	for _, c := range id {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxID
}

// advance moves the clock of a core on to the time of an event of FreeSWITCH, ends
// the legs that had no event for too long and forgets those that ended long ago. Because
// the clock is the events' own, what happens when depends on nothing else.
//
// It returns by which time the event is late or not. That is the clock, unless
// FreeSWITCH's own was set back (fsctl sync_clock): an event that is late has a smaller
// Event-Sequence than those before it, so one with a greater number is not late, and its
// own time is the present. The clock waits until that time is reached again; meanwhile
// legs that ended are remembered.
func (t *Table) advance(c *core, ev cause) (now int64) {
	if c.order == 0 {
		t.met++
		c.order = t.met
	}
	c.witness = ""
	if ev.made {
		return c.clock
	}
	us, n := ev.e.ID().TimeUS, ev.e.ID().Sequence
	next := n > c.sequence && c.sequence != 0
	c.sequence = max(c.sequence, n)
	if us <= c.clock {
		if next {
			return us
		}
		return c.clock
	}
	hourBefore := c.clock / sweepEvery
	c.clock = us
	var old []*leg
	for len(c.queue) > 0 && c.queue[0].due < us {
		l := c.queue[0]
		switch {
		case l.endedClock != 0:
			t.forget(c, l)
			continue
		case l.clock+t.maxAge >= us:
			l.due = l.clock + t.maxAge // it had events since
		default:
			l.due = us + t.linger
			old = append(old, l)
		}
		c.fix(0)
	}
	t.loseEnds(old, ev)
	if us/sweepEvery != hourBefore {
		t.sweep(c, ev)
	}
	return us
}

// sweep ends the legs of processes that are gone: their own clocks stand still.
// How long one has been silent is measured on the clock of a single other
// process, so that a server with a wrong date ends nobody's legs.
func (t *Table) sweep(now *core, ev cause) {
	for _, c := range t.sorted() {
		if c == now {
			continue
		}
		if w := t.cores[c.witness]; c.witness == "" || w == nil || w.witness != "" {
			c.witness, c.witnessClock = now.uuid, now.clock
			continue
		}
		if c.witness != now.uuid || now.clock-c.witnessClock <= t.maxAge {
			continue
		}
		t.loseEnds(c.live(func(*leg) bool { return true }), ev)
		for len(c.queue) > 0 {
			t.forget(c, c.queue[0])
		}
		delete(t.cores, c.uuid)
	}
}

func (t *Table) sorted() []*core {
	out := make([]*core, 0, len(t.cores))
	for _, c := range t.cores {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *core) int { return cmp.Compare(a.uuid, b.uuid) })
	return out
}

// manyLegs is from how many on the room that they took is given back.
const manyLegs = 256

// shrink gives back what a crowd that is gone has taken: neither a map nor a slice
// does so by itself.
func (c *core) shrink() {
	if c.most < manyLegs || len(c.legs) > c.most/4 {
		return
	}
	legs := make(map[string]*leg, len(c.legs))
	maps.Copy(legs, c.legs)
	c.legs, c.queue, c.most = legs, slices.Clone(c.queue), len(legs)
}

// live lists legs that have not ended.
func (c *core) live(keep func(*leg) bool) (out []*leg) {
	for _, l := range c.queue {
		if l.endedClock == 0 && keep(l) {
			out = append(out, l)
		}
	}
	return out
}
