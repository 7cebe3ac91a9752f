package leg

import (
	"cmp"
	"slices"
)

// adopt takes a new leg in.
func (t *Table) adopt(c *core, l *leg) {
	c.legs[l.uniqueID] = l
	c.most = max(c.most, len(c.legs))
	l.due = c.clock + t.maxAge
	l.partial = t.params.MarkPartial
	c.push(l)
	t.live++
}

// end turns a leg into the reminder that it has ended.
func (t *Table) end(c *core, l *leg) {
	*l = leg{
		core: c, uniqueID: l.uniqueID, index: l.index, dirty: l.dirty,
		loaded: l.loaded, applied: l.applied, recent: l.recent, clock: l.clock,
		endedClock: max(c.clock, 1), due: c.clock + t.linger,
	}
	c.fix(l.index)
	t.live--
	t.ended++
}

// loseEnds gives out the accounts of legs whose own end was not seen and will
// hardly come. They are remembered in full, in case it comes after all. One
// event can end many: they are in the order of their ids.
func (t *Table) loseEnds(legs []*leg, ev cause) {
	slices.SortFunc(legs, func(a, b *leg) int { return cmp.Compare(a.uniqueID, b.uniqueID) })
	for _, l := range legs {
		s := t.endUnknown(l, ev)
		ev.emit(s)
		if t.trace != nil {
			t.trace(Step{Key: l.key(), Event: ev.e, Outcome: Applied, Sample: s})
		}
		l.endUnknown = true
		l.endedClock, l.due = max(l.core.clock, 1), l.core.clock+t.linger
		l.applied = ev.seq
		l.core.fix(l.index)
		t.live--
		t.ended++
		t.touch(l)
	}
}

// revive brings back a leg that has ended: the same leg, if its end was not
// known, or a new one under the same id.
func (t *Table) revive(c *core, l *leg, anew bool) {
	if anew {
		*l = leg{core: c, uniqueID: l.uniqueID, index: l.index, dirty: l.dirty, loaded: l.loaded, recent: l.recent}
	} else {
		l.endUnknown, l.revived = false, true
	}
	l.endedClock = 0
	l.due = c.clock + t.maxAge
	c.fix(l.index)
	t.ended--
	t.live++
}

func (t *Table) forget(c *core, l *leg) {
	t.drop(c, l)
	t.gone = append(t.gone, l.key())
}

func (t *Table) drop(c *core, l *leg) {
	c.remove(l)
	delete(c.legs, l.uniqueID)
	c.shrink()
	if l.endedClock != 0 {
		t.ended--
	} else {
		t.live--
	}
}
