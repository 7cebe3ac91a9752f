package leg

import (
	"cmp"
	"slices"
	"strings"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// core is one life of one FreeSWITCH process, as the partition has seen it.
type core struct {
	uuid     string
	instance string
	clock    int64 // latest Event-Date-Timestamp, microseconds since 1970
	legs     map[string]*leg
	queue    []*leg // a heap by due: which leg to forget next
}

// sweepEvery is the event time between looks at Cores that were replaced.
const sweepEvery = int64(time.Hour / time.Microsecond)

// LoadCores sets the clocks of the cores, as Cores gave them. It is to be called
// before the first Apply.
func (t *Table) LoadCores(cores []*fsagentv1.Core) {
	for _, m := range cores {
		if c := t.core([]byte(m.GetCoreUuid()), m.GetFsInstance()); c != nil {
			c.clock = max(c.clock, m.GetClockUs())
		}
	}
}

// Cores returns the clock of each FreeSWITCH process, sorted by Core-UUID.
func (t *Table) Cores() []*fsagentv1.Core {
	out := make([]*fsagentv1.Core, 0, len(t.cores))
	for _, c := range t.cores {
		out = append(out, fsagentv1.Core_builder{CoreUuid: c.uuid, FsInstance: c.instance, ClockUs: c.clock}.Build())
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

// advance moves the clock of a core and forgets the legs whose time is up.
// Because the clock is the events' own, what is forgotten when depends on
// nothing else.
func (t *Table) advance(c *core, us int64) {
	if us <= c.clock {
		return
	}
	hourBefore := c.clock / sweepEvery
	c.clock = us
	for len(c.queue) > 0 && c.queue[0].due < us {
		l := c.queue[0]
		if l.endedClock == 0 && l.clock+t.maxAge >= us {
			l.due = l.clock + t.maxAge // it had events since
			c.fix(0)
			continue
		}
		t.forget(c, l)
	}
	if us/sweepEvery != hourBefore {
		t.sweep(c)
	}
}

// sweep forgets the cores that now's took the place of long ago: their clocks
// stand still, so their legs would stay for ever.
func (t *Table) sweep(now *core) {
	var old []*core
	for _, c := range t.cores {
		if c != now && c.instance == now.instance && c.clock+t.maxAge < now.clock {
			old = append(old, c)
		}
	}
	slices.SortFunc(old, func(a, b *core) int { return cmp.Compare(a.uuid, b.uuid) })
	for _, c := range old {
		for len(c.queue) > 0 {
			t.forget(c, c.queue[0])
		}
		delete(t.cores, c.uuid)
	}
}

// adopt takes a new leg in.
func (t *Table) adopt(c *core, l *leg) {
	c.legs[l.uniqueID] = l
	l.due = c.clock + t.maxAge
	c.push(l)
	t.live++
}

// end turns a leg into the reminder that it has ended.
func (t *Table) end(c *core, l *leg) {
	*l = leg{
		core: c, uniqueID: l.uniqueID, index: l.index, dirty: l.dirty,
		loaded: l.loaded, applied: l.applied, recent: l.recent, clock: l.clock,
		endedClock: c.clock, due: c.clock + t.linger,
	}
	c.fix(l.index)
	t.live--
	t.ended++
}

// revive begins a leg anew under the id of one that ended.
func (t *Table) revive(c *core, l *leg) {
	l.endedClock = 0
	l.due = c.clock + t.maxAge
	c.fix(l.index)
	t.ended--
	t.live++
}

func (t *Table) forget(c *core, l *leg) {
	c.remove(l)
	delete(c.legs, l.uniqueID)
	if l.endedClock != 0 {
		t.ended--
	} else {
		t.live--
	}
	t.gone = append(t.gone, l.key())
}
