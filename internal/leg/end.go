package leg

import (
	"strconv"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// counters is what FreeSWITCH counted of the leg's RTP (variable_rtp_audio_*).
type counters struct {
	present    bool // the leg had an RTP session
	unknown    bool // nobody knows, because the end was not seen
	inPackets  int64
	outPackets int64
	inBytes    int64
	outBytes   int64
	mos        float64 // rtp_audio_in_mos, 0 if there is none
	flushed    int64   // rtp_audio_in_flush_packet_count
	hasFlushed bool
}

func readCounters(e event.Event) (c counters) {
	var ok [4]bool
	c.inPackets, ok[0] = counter(e, "variable_rtp_audio_in_packet_count")
	c.outPackets, ok[1] = counter(e, "variable_rtp_audio_out_packet_count")
	c.inBytes, ok[2] = counter(e, "variable_rtp_audio_in_raw_bytes")
	c.outBytes, ok[3] = counter(e, "variable_rtp_audio_out_raw_bytes")
	c.present = ok == [4]bool{true, true, true, true}
	c.flushed, c.hasFlushed = counter(e, "variable_rtp_audio_in_flush_packet_count")
	if m, err := strconv.ParseFloat(e.Text("variable_rtp_audio_in_mos"), 64); err == nil && m >= 1 && m <= 5 {
		c.mos = m
	}
	return c
}

// counter reads a count of FreeSWITCH. Numbers that would overflow a sum are no
// counts.
func counter(e event.Event, name string) (int64, bool) {
	v, _ := e.Header(name)
	n, ok := event.Uint(v)
	return int64(n), ok && n < 1<<60
}

// legEnd makes the account of a leg from CHANNEL_HANGUP_COMPLETE, or from
// CHANNEL_DESTROY, which has the same headers, if the former was missed.
func (t *Table) legEnd(l *leg, e event.Event) *fsagentv1.Sample {
	s, m := &fsagentv1.Sample{}, &fsagentv1.LegEnd{}
	t.label(s, l, e)
	m.SetHangupCause(hangupCause(e))
	end := e.ID().TimeUS
	if us := number(e, "Caller-Channel-Hangup-Time"); us > 0 {
		end = us // the event waits for those who write call records
	}
	t.account(s, m, l, readCounters(e), end)
	return s
}

// endUnknown makes the account of a leg whose end was not seen, at an event that
// shows it or lets it be assumed. FreeSWITCH's own counters are missing.
func (t *Table) endUnknown(l *leg, ev cause) *fsagentv1.Sample {
	id := ev.e.ID()
	s, m := &fsagentv1.Sample{}, &fsagentv1.LegEnd{}
	s.SetEventId(l.core.uuid + ":" + strconv.FormatUint(id.Sequence, 10) + ":" + l.uniqueID)
	s.SetTimeUs(id.TimeUS)
	t.name(s, l)
	m.SetEndReason(fsagentv1.Reason_REASON_END_UNKNOWN)
	m.SetLastEventUs(l.lastEvent)
	t.account(s, m, l, counters{unknown: true}, l.lastEvent)
	return s
}

// account fills in what is known of a leg that ended at endUS.
func (t *Table) account(s *fsagentv1.Sample, m *fsagentv1.LegEnd, l *leg, c counters, endUS int64) {
	in, out := l.seen(audioIn), l.seen(audioOut)
	m.SetInbound(t.summarise(l, rtcp.Inbound, c, endUS))
	m.SetOutbound(t.summarise(l, rtcp.Outbound, c, endUS))
	l.setMOS(m, c)
	setJitter(m, in.jitter, out.jitter)
	l.setTotals(m, c)
	setLoss(m)
	m.SetAnsweredTimeUs(l.answered)
	m.SetCreatedTimeUs(l.created)
	m.SetAfterEndUnknown(l.revived)
	m.SetGap(l.gap)
	m.SetHeldUs(l.held)
	if l.heldSince != 0 {
		m.SetHeldUs(l.held + max(endUS-l.heldSince, 0))
	}
	s.SetBad(l.bad || t.params.Bad.account(m))
	s.SetCodecName(l.readCodec)
	src, dst := l.addresses()
	s.SetSrcIp(src)
	s.SetDstIp(dst)
	s.SetLegEnd(m)
}

// hangupCause is FreeSWITCH's name for why a leg ended.
func hangupCause(e event.Event) string {
	if v, ok := e.Header("Hangup-Cause"); ok {
		return utf8Text(v)
	}
	v, _ := e.Header("variable_hangup_cause")
	return utf8Text(v)
}

// counted reports whether FreeSWITCH's counters are of media. A leg that was
// never answered and moved no packet has none, even if a session was prepared.
func (l *leg) counted(c counters) bool {
	return c.present && (l.answered > 0 || c.inPackets+c.outPackets > 0)
}

// silence is why a direction has no report.
func (l *leg) silence(d rtcp.Direction, c counters) fsagentv1.Reason {
	slot := int(d) - 1
	switch {
	case l.streams[slot] != nil && l.streams[slot].Pending.Has(rtcp.Gap):
		return fsagentv1.Reason_REASON_GAP
	case c.unknown:
		return fsagentv1.Reason_REASON_END_UNKNOWN
	case !l.counted(c) && l.reports() == 0:
		return fsagentv1.Reason_REASON_NO_MEDIA
	case d == rtcp.Inbound && l.seen(audioOut).Reports > 0:
		return fsagentv1.Reason_REASON_NO_SEND_EVENTS
	}
	return fsagentv1.Reason_REASON_NO_RTCP
}

func (l *leg) reports() uint32 { return l.seen(audioIn).Reports + l.seen(audioOut).Reports }

// setMOS takes the worse direction. FreeSWITCH's own value stands in only for a
// leg without any report: it is no MOS of the E-model (F 3.3).
func (l *leg) setMOS(m *fsagentv1.LegEnd, c counters) {
	in, out := m.GetInbound(), m.GetOutbound()
	worse := in
	if !in.HasMos() || out.HasMos() && out.GetMos() < in.GetMos() {
		worse = out
	}
	switch {
	case worse.HasMos():
		m.SetMos(worse.GetMos())
		m.SetMosSource(worse.GetMosSource())
	case l.reports() == 0 && c.mos > 0 && c.present && c.inPackets > 0:
		m.SetMos(c.mos)
		m.SetMosSource(fsagentv1.MosSource_MOS_SOURCE_FREESWITCH)
	case in.GetReports() > 0:
		m.SetMosReason(in.GetMosReason())
	default:
		m.SetMosReason(out.GetMosReason())
	}
}

// setJitter is over the reports of both directions; the average is the mean of
// the directions' means.
func setJitter(m *fsagentv1.LegEnd, in, out summary) {
	if in.count == 0 {
		in = out
	}
	if out.count == 0 {
		out = in
	}
	if in.count == 0 {
		reason := m.GetOutbound().GetMosReason()
		if r := m.GetOutbound().GetReason(); r != 0 {
			reason = r
		}
		m.SetJitterReason(reason)
		return
	}
	m.SetJitterAvgMs(float64(in.mean()+out.mean()) / 2e6)
	m.SetJitterMinMs(float64(min(in.min, out.min)) / 1e6)
	m.SetJitterMaxMs(float64(max(in.max, out.max)) / 1e6)
}

func (l *leg) setTotals(m *fsagentv1.LegEnd, c counters) {
	switch {
	case c.unknown && l.gap:
		m.SetTotalReason(fsagentv1.Reason_REASON_GAP)
		return
	case c.unknown:
		m.SetTotalReason(fsagentv1.Reason_REASON_END_UNKNOWN)
		return
	case !l.counted(c):
		m.SetTotalReason(fsagentv1.Reason_REASON_NO_MEDIA)
		return
	}
	m.SetTotalPackets(c.inPackets + c.outPackets)
	m.SetTotalBytes(c.inBytes + c.outBytes)
}

// setLoss adds up the directions that are known.
func setLoss(m *fsagentv1.LegEnd) {
	in, out := m.GetInbound(), m.GetOutbound()
	if in.HasPacketsLost() || out.HasPacketsLost() {
		m.SetPacketLoss(in.GetPacketsLost() + out.GetPacketsLost())
	}
	for _, d := range [...]*fsagentv1.DirectionSummary{out, in} {
		if !d.HasPacketsLost() {
			m.SetPacketLossReason(d.GetReason())
		}
	}
}
