package leg

import "github.com/fsagent/fsagent/internal/rtcp"

// slotOf streams: what a leg can have reports of. Inbound video and text make no
// events (FreeSWITCH never fires them).
const (
	audioIn = iota
	audioOut
	videoOut
	textOut
	slots
)

// leg is one call leg. Its strings are as they appear in samples.
type leg struct {
	core       *core
	uniqueID   string // percent-encoded, as sent
	index      int    // in core.queue; -1: not in the table
	dirty      bool
	loaded     uint64 // events through this sequence were in the loaded state
	applied    uint64 // sequence of the last event applied
	recent     recent
	clock      int64 // of the core at the last event
	endedClock int64 // of the core when the leg ended; 0 while it lives
	endUnknown bool  // it ended without an end of its own, and may live on
	bad        bool  // a report was over a threshold
	revived    bool  // it lived on after an account was given out
	partial    bool  // its beginning was not read (Params.MarkPartial)
	gap        bool  // lifecycle events of its server were dropped while it lived
	due        int64 // clock of the core after which the leg is looked at, or forgotten

	channelID     string
	sipCallID     string
	callID        string
	callIDRank    uint8
	domain        string
	domainRank    uint8
	readCodec     string
	writeCodec    string
	clockRate     uint32
	remoteIP      string
	localIP       string
	callDirection uint8 // 1 inbound, 2 outbound, 0 unknown
	ownSSRC       uint32
	created       int64
	answered      int64
	packetMS      int64
	lastEvent     int64 // latest Event-Date-Timestamp
	heldSince     int64
	held          int64 // before heldSince, microseconds

	streams [slots]*stream // nil before the first report
}

// stream is the reports of one direction of one medium.
type stream struct {
	rtcp.Stream
	jitter summary
	rttUS  int64
}

// summary of a quantity: whole nanoseconds, so that a sum is the same in any
// order.
type summary struct {
	count         uint32
	sum, min, max int64
}

func (s *summary) add(v int64) {
	if s.count == 0 || v < s.min {
		s.min = v
	}
	s.max = max(s.max, v)
	s.sum += v
	s.count++
}

// mean is rounded to the nearest nanosecond; there must be a value.
func (s *summary) mean() int64 {
	n := int64(s.count)
	return (s.sum + n/2) / n
}

// at is the stream of a slot, made if there is none.
func (l *leg) at(slot int) *stream {
	if l.streams[slot] == nil {
		l.streams[slot] = &stream{}
	}
	return l.streams[slot]
}

// seen is a copy of the stream of a slot, empty if there is none.
func (l *leg) seen(slot int) stream {
	if l.streams[slot] == nil {
		return stream{}
	}
	return *l.streams[slot]
}

// announce marks the next report of streams that have had one.
func (l *leg) announce(a rtcp.Artefacts, slots ...int) {
	for _, s := range slots {
		if st := l.streams[s]; st != nil {
			st.Pending |= a
		}
	}
}

func newLeg(c *core, uniqueID string) *leg {
	return &leg{core: c, uniqueID: uniqueID, index: -1}
}

func (l *leg) key() Key { return Key{CoreUUID: l.core.uuid, UniqueID: l.uniqueID} }
