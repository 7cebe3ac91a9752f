package leg

import (
	"bytes"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// Headers of the events that the collector makes.
const (
	headerChannels = "Fsagent-Channels" // Unique-IDs, encoded, between single spaces; "_undef_" for none
	headerGapFrom  = "Gap-From"         // Event-Date-Timestamp of the oldest dropped event
	headerGapTo    = "Gap-To"           // of the newest
	headerGapCount = "Gap-Count-"       // followed by an Event-Name: how many of that name
)

// snapshotMargin is how old the last event of a leg must be, in microseconds,
// for its absence in a snapshot to say that it has ended: FreeSWITCH fills its
// table of channels from events, with a delay.
const snapshotMargin = 5_000_000

// reconcile applies FSAGENT_SYNC: which legs a server has. Legs of its earlier
// processes have ended, and so have legs of this process that are not in the
// list. Which process is the earlier one is told by the order in which the
// partition met them, because a second collector may be late with its snapshot
// of a process that has ended meanwhile.
func (t *Table) reconcile(c *core, ev cause) Outcome {
	list, ok := ev.e.Header(headerChannels)
	if !ok {
		return Malformed
	}
	for _, old := range t.sorted() {
		if old.instance == c.instance && old.order < c.order {
			t.loseEnds(old.live(ev.news), ev)
		}
	}
	there := make(map[string]bool)
	for id := range bytes.SplitSeq(list, []byte(" ")) {
		there[string(id)] = true
	}
	before := ev.e.ID().TimeUS - snapshotMargin
	t.loseEnds(c.live(func(l *leg) bool { return ev.news(l) && !there[l.uniqueID] && l.lastEvent < before }), ev)
	return Applied
}

// dropped is what the collector could not keep of a process.
type dropped struct {
	from, to int64 // event times, microseconds since 1970
	lost     lost
}

// lost is a set of kinds of events.
type lost uint8

const (
	lostLife lost = 1 << iota // of a leg's life
	lostSend                  // SEND_RTCP_MESSAGE
	lostRecv                  // RECV_RTCP_MESSAGE
)

// miss applies FSAGENT_GAP: every leg that was alive may miss events.
func (t *Table) miss(c *core, ev cause) Outcome {
	d := dropped{from: number(ev.e, headerGapFrom), to: number(ev.e, headerGapTo)}
	for name, value := range ev.e.All() {
		kind, ok := bytes.CutPrefix(name, []byte(headerGapCount))
		if n, isNumber := event.Uint(value); !ok || !isNumber || n == 0 {
			continue
		}
		switch kindOf(kind) {
		case message:
			if string(kind) == event.SendRTCP {
				d.lost |= lostSend
			} else {
				d.lost |= lostRecv
			}
		case unknown, ofInstance, snapshot, gap:
		default:
			d.lost |= lostLife
		}
	}
	if d.to == 0 {
		return Malformed
	}
	c.dropped = d
	for _, l := range c.live(func(l *leg) bool { return ev.news(l) && l.created <= d.to }) {
		if l.miss(d) {
			l.applied = ev.seq
			t.touch(l)
		}
	}
	return Applied
}

// miss marks a leg that may lack events, and reports whether that changed it.
func (l *leg) miss(d dropped) (changed bool) {
	if d.lost&lostLife != 0 && !l.gap {
		l.gap, changed = true, true
	}
	for slot := range l.streams {
		of := lostRecv
		if slot == audioIn {
			of = lostSend
		}
		if slot > audioOut && l.streams[slot] == nil || d.lost&of == 0 {
			continue
		}
		if st := l.at(slot); st.LastUS <= d.to {
			st.Pending |= rtcp.Gap
			changed = true
		}
	}
	return changed
}

// inherit marks a leg whose beginning fell into a gap.
func (l *leg) inherit(c *core, k kind, us int64, maxAge int64) {
	d := c.dropped
	if d.lost == 0 || k == create || k == codecSet || l.created > d.to || us-d.to > maxAge {
		return
	}
	l.miss(d)
}
