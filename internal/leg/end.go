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
	inPackets  int64
	outPackets int64
	inBytes    int64
	outBytes   int64
	mos        float64 // rtp_audio_in_mos, 0 if there is none
}

func readCounters(e event.Event) (c counters) {
	var ok [4]bool
	c.inPackets, ok[0] = counter(e, "variable_rtp_audio_in_packet_count")
	c.outPackets, ok[1] = counter(e, "variable_rtp_audio_out_packet_count")
	c.inBytes, ok[2] = counter(e, "variable_rtp_audio_in_raw_bytes")
	c.outBytes, ok[3] = counter(e, "variable_rtp_audio_out_raw_bytes")
	c.present = ok == [4]bool{true, true, true, true}
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
	c := readCounters(e)
	in, out := &l.streams[audioIn], &l.streams[audioOut]
	m := &fsagentv1.LegEnd{}
	m.SetInbound(t.summarise(l, rtcp.Inbound, c))
	m.SetOutbound(t.summarise(l, rtcp.Outbound, c))
	l.setMOS(m, c)
	setJitter(m, in.jitter, out.jitter)
	l.setTotals(m, c)
	setLoss(m)
	m.SetAnsweredTimeUs(l.answered)
	m.SetCreatedTimeUs(l.created)
	m.SetHangupCause(cause(e))

	s := &fsagentv1.Sample{}
	t.label(s, l, e)
	s.SetCodecName(l.readCodec)
	src, dst := l.addresses()
	s.SetSrcIp(src)
	s.SetDstIp(dst)
	s.SetLegEnd(m)
	return s
}

func cause(e event.Event) string {
	if v, ok := e.Header("Hangup-Cause"); ok {
		return utf8Text(v)
	}
	v, _ := e.Header("variable_hangup_cause")
	return utf8Text(v)
}

// summarise is the account of one direction.
func (t *Table) summarise(l *leg, d rtcp.Direction, c counters) *fsagentv1.DirectionSummary {
	m := &fsagentv1.DirectionSummary{}
	st := &l.streams[int(d)-1]
	packets, bytes := c.inPackets, c.inBytes
	if d == rtcp.Outbound {
		packets, bytes = c.outPackets, c.outBytes
	}
	if l.counted(c) {
		m.SetPackets(packets)
		m.SetBytes(bytes)
	}
	m.SetReports(st.Reports)
	if st.Reports == 0 {
		m.SetReason(l.silence(d, c))
		m.SetMosReason(l.silence(d, c))
		return m
	}
	if st.jitter.count > 0 {
		m.SetJitterMeanMs(float64(st.jitter.mean()) / 1e6)
		m.SetJitterMaxMs(float64(st.jitter.max) / 1e6)
	}
	if st.rttUS > 0 {
		m.SetRoundTripTimeMs(float64(st.rttUS) / 1e3)
	}
	if st.Started {
		m.SetPacketsLost(max(st.SumLost, 0) + st.SumBefore)
		m.SetPacketsLostBefore(st.SumBefore)
	}
	t.summariseQuality(m, l, d, st)
	return m
}

// summariseQuality is the MOS of a direction: that of the loss of all its
// intervals together, so that it does not depend on how often a report came.
func (t *Table) summariseQuality(m *fsagentv1.DirectionSummary, l *leg, d rtcp.Direction, st *stream) {
	if st.Intervals == 0 {
		m.SetMosReason(fsagentv1.Reason_REASON_TOO_SHORT)
		return
	}
	m.SetPacketsExpected(st.SumExpected)
	m.SetCoveredUs(st.SumCoveredUS)
	q, err := t.quality[d-1].Quality(l.codecOf(d), max(st.SumLost, 0), st.SumExpected)
	if err != nil {
		m.SetMosReason(reason(err))
		return
	}
	m.SetMos(q.MOS)
	m.SetMosSource(source(q.Standard))
	m.SetConcealmentAssumed(q.Concealed)
}

// counted reports whether FreeSWITCH's counters are of media. A leg that was
// never answered and moved no packet has none, even if a session was prepared.
func (l *leg) counted(c counters) bool {
	return c.present && (l.answered > 0 || c.inPackets+c.outPackets > 0)
}

// silence is why a direction has no report.
func (l *leg) silence(d rtcp.Direction, c counters) fsagentv1.Reason {
	switch {
	case !l.counted(c) && l.reports() == 0:
		return fsagentv1.Reason_REASON_NO_MEDIA
	case d == rtcp.Inbound && l.streams[audioOut].Reports > 0:
		return fsagentv1.Reason_REASON_NO_SEND_EVENTS
	}
	return fsagentv1.Reason_REASON_NO_RTCP
}

func (l *leg) reports() uint32 { return l.streams[audioIn].Reports + l.streams[audioOut].Reports }

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
	if !l.counted(c) {
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
