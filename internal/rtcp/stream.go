package rtcp

// Stream is what must be known of the reports so far to make sense of the next
// one: one direction of one medium of a leg. The zero Stream has had no report.
// It is comparable.
type Stream struct {
	Started  bool   // there is a baseline
	SSRC     uint32 // of the stream the baseline is about
	Sequence uint64 // Event-Sequence of the latest report
	Highest  uint32 // extended highest sequence number at the last report that moved it
	Lost     int32  // cumulative loss that goes with Highest
	MovedUS  int64  // event time of that report, microseconds since 1970
	Silent   bool   // a report since then found the number where it was
	// LastUS is the event time of the latest report, StoppedUS when the number
	// stopped as far as reports can tell; MovedUS while it has not.
	LastUS, StoppedUS int64
	// PacketUS is the packet time that intervals showed; 0 before the first.
	PacketUS int64
	// Pending are artefacts of the next interval that other events announced.
	Pending Artefacts
	Sender  uint64 // NTP time of the last sender report seen, 32.32 bits

	Reports   uint32 // reports counted
	Intervals uint32 // intervals made of them
	// Sums over the intervals. SumLost may fall with late packets.
	SumExpected, SumLost int64
	// SumBefore is what baselines said was lost before them.
	SumBefore int64
	// SumCoveredUS is the time of all intervals in microseconds.
	SumCoveredUS int64
	// LostTotal is the greatest SumLost so far: it never falls.
	LostTotal int64
	// SumNoMediaUS is the time without media between the first report and the
	// last; SumFlushed the packets set aside as flushed.
	SumNoMediaUS, SumFlushed int64
	// SumRuns is how many runs the lost packets came in; RunsUnknown says that
	// some intervals did not tell.
	SumRuns     int64
	RunsUnknown bool
	// Counts is how many reports had each artefact, by number.
	Counts [Kinds]uint32
}

// Kinds is the number of artefacts, and one more.
const Kinds = 21

// Interval is what one report adds to the ones before it.
type Interval struct {
	// Counted: the report is one of the stream. Otherwise it says nothing.
	Counted bool
	// Moving: packets arrived since the report before, so its jitter is a
	// measurement and no repetition.
	Moving bool
	// Known: Expected, Lost and LengthUS are measured.
	Known bool
	// Expected and Lost packets, 0 or more, Lost at most Expected. Packets
	// expected is 0 and Known false when the stream stands still.
	Expected, Lost int64
	// LengthUS is the time the packets belong to: since the last report whose
	// highest sequence number moved or, after it stopped, since it stopped.
	LengthUS int64
	// NoMediaUS is the time since the report before this one in which no media
	// came. It is found by the packet time, so it is 0 until an interval or the
	// negotiation has shown that.
	NoMediaUS int64
	// Flushed packets are counted as lost by FreeSWITCH, but it threw them away
	// itself or may have. Not in Lost.
	Flushed int64
	// Artefacts of the report and of its relation to the others.
	Artefacts Artefacts
}

const (
	// Limits of a signed 24-bit counter (RFC 3550, 6.4.1).
	minLost = -1 << 23
	maxLost = 1<<23 - 1
	// A stream that moves on faster than this has begun anew. Audio has at most
	// 400 packets a second (2.5 ms), video a few thousand.
	maxPackets      = 1000 // at any time, for reports in quick succession
	maxPacketsAudio = 1000 // a second
	maxPacketsVideo = 50000
)

// Next adds one report to the stream and returns the interval it makes. seq is
// the Event-Sequence and atUS the time of its event; a report is added once
// (package leg sees to that). The first report, and the first one after a
// restart of the counters, is a baseline: what it says was lost has no
// expectation to go with it, so it makes no interval, only SumBefore.
//
// A baseline that says exactly 1 lost is taken for FreeSWITCH's phantom, which
// 95 % of its streams have on a perfect line (switch_rtp.c, rtcp_stats), and
// counts 0. If it says more, the phantom cannot be told from a loss and all is
// counted. So the total can be wrong by 1 in either direction, no more.
//
// packetUS is the negotiated packet time in microseconds, 0 if it is unknown.
func (s *Stream) Next(r Report, seq uint64, atUS, packetUS int64) Interval {
	iv := Interval{Artefacts: r.Artefacts}
	s.next(r, seq, atUS, packetUS, &iv)
	for n := range iv.Artefacts.Numbers() {
		s.Counts[n]++
	}
	return iv
}

func (s *Stream) next(r Report, seq uint64, atUS, packetUS int64, iv *Interval) {
	if r.SenderNTP != 0 && r.Direction == Outbound {
		if r.SenderNTP == s.Sender {
			iv.Artefacts |= StaleSender
		}
		s.Sender = r.SenderNTP
	}
	switch {
	case !r.HasBlock:
		return
	case r.Direction == Inbound && r.SSRC == 0:
		iv.Artefacts |= BeforeMedia
		return
	case impossible(r):
		iv.Artefacts |= Impossible
		return
	}
	s.Reports++
	iv.Counted, iv.Moving = true, true
	if s.Started && seq < s.Sequence {
		iv.Artefacts |= Overtaken
		return
	}
	s.Sequence = max(seq, s.Sequence)
	iv.Artefacts |= s.Pending &^ Flushed
	s.compare(r, atUS, packetUS, iv)
	s.LastUS = max(atUS, s.LastUS)
	if iv.Moving {
		s.Pending = 0
	}
}

// compare finds the interval between the stream's last report and r.
func (s *Stream) compare(r Report, atUS, packetUS int64, iv *Interval) {
	switch {
	case !s.Started:
		s.begin(r, atUS, iv, Baseline)
		return
	case r.SSRC != s.SSRC:
		s.begin(r, atUS, iv, SSRCChanged)
		return
	case r.Highest == s.Highest:
		s.Silent = true
		iv.Moving = false
		iv.Artefacts |= NoMedia
		iv.NoMediaUS = max(atUS-s.LastUS, 0)
		s.SumNoMediaUS += iv.NoMediaUS
		return
	}
	length := max(atUS-s.MovedUS, 0)
	expected, wrapped, ok := s.moved(r, length)
	lost := int64(r.Lost) - int64(s.Lost)
	// A receiver that gets late or repeated packets reports a fall, but not by
	// more than it can have received. FreeSWITCH's own count never falls.
	if !ok || lost < 0 && (r.Direction == Inbound || -lost > expected) {
		s.begin(r, atUS, iv, CountersRestarted)
		return
	}
	if wrapped {
		iv.Artefacts |= CycleAdded
	}
	if lost > expected {
		iv.Artefacts |= LossCut
		lost = expected
	}
	if s.Pending.Has(Flushed) && lost > 0 && r.Direction == Inbound {
		iv.Artefacts |= Flushed
		iv.Flushed, lost = lost, 0
	}
	s.add(expected, lost, length)
	s.SumFlushed += iv.Flushed
	if lost < 0 {
		iv.Artefacts |= NegativeLoss
		lost = 0
	}
	iv.Known, iv.Expected, iv.Lost, iv.LengthUS = true, expected, lost, length
	stopped := s.outage(atUS, packetUS, iv)
	s.settle(r, atUS)
	s.StoppedUS = stopped
}

// impossible reports whether nobody can have counted so: the counter has 24
// bits, and a receiver cannot lose, or receive too often, more packets than the
// highest sequence number allows (which has 16 bits in peers that count no
// cycles).
func impossible(r Report) bool {
	limit := max(int64(r.Highest), 1<<16-1) + 1
	return r.Lost < minLost || r.Lost > maxLost || int64(r.Lost) > limit || -int64(r.Lost) > limit
}

func (s *Stream) add(expected, lost, length int64) {
	s.Intervals++
	s.SumExpected += expected
	s.SumLost += lost
	s.SumCoveredUS += length
	s.LostTotal = max(s.LostTotal, s.SumLost)
	switch {
	case lost == 0:
	case lost == 1 || lost == expected-1:
		// The highest packet of a report has arrived. So no run goes on into the
		// next interval, and where only one arrived all others are one run.
		s.SumRuns++
	default:
		s.RunsUnknown = true
	}
}

// begin makes r the baseline.
func (s *Stream) begin(r Report, atUS int64, iv *Interval, why Artefacts) {
	iv.Artefacts |= why
	lost := int64(r.Lost)
	switch {
	case why == CountersRestarted && r.Direction == Outbound && r.Lost >= s.Lost:
		// FreeSWITCH sets its count to 0 when it begins anew; a peer whose
		// sequence number jumped may go on counting.
		lost -= int64(s.Lost)
	case r.Lost == 1:
		iv.Artefacts |= PhantomLoss
		lost = 0
	}
	s.SumBefore += max(lost, 0)
	s.Started, s.SSRC = true, r.SSRC
	s.settle(r, atUS)
}

func (s *Stream) settle(r Report, atUS int64) {
	s.Highest, s.Lost, s.MovedUS, s.StoppedUS, s.Silent = r.Highest, r.Lost, atUS, atUS, false
}

// moved returns by how many packets the highest sequence number went on in
// length microseconds. ok is false if it fell, or went on faster than any
// stream does. A peer that does not count cycles starts over at 0 after 65535:
// wrapped.
func (s *Stream) moved(r Report, length int64) (packets int64, wrapped, ok bool) {
	d := r.Highest - s.Highest // modulo 2^32
	if d >= 1<<31 && r.Highest>>16 == s.Highest>>16 && s.Highest-r.Highest > 1<<15 {
		d += 1 << 16
		wrapped = true
	}
	rate := int64(maxPacketsAudio)
	if r.Media() == Video {
		rate = maxPacketsVideo
	}
	limit := maxPackets + length/1_000_000*rate + length%1_000_000*rate/1_000_000
	return int64(d), wrapped, d < 1<<31 && int64(d) <= limit
}
