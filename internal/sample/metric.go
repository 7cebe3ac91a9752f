package sample

import (
	"iter"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// Names of the metrics. docs/metrics.md says what each one means.
const (
	RTCPJitter          = "freeswitch.rtcp.jitter"
	RTCPPacketsLost     = "freeswitch.rtcp.packets_lost"
	RTCPPacketsExpected = "freeswitch.rtcp.packets_expected"
	RTCPFractionLost    = "freeswitch.rtcp.fraction_lost"
	RTCPRoundTripTime   = "freeswitch.rtcp.round_trip_time"
	RTCPMOS             = "freeswitch.rtcp.mos_score"
	RTCPNoMedia         = "freeswitch.rtcp.no_media"

	QOSMOS          = "freeswitch.qos.mos_score"
	QOSJitterAvg    = "freeswitch.qos.jitter_avg"
	QOSJitterMin    = "freeswitch.qos.jitter_min"
	QOSJitterMax    = "freeswitch.qos.jitter_max"
	QOSTotalPackets = "freeswitch.qos.total_packets"
	QOSPacketLoss   = "freeswitch.qos.packet_loss"
	QOSTotalBytes   = "freeswitch.qos.total_bytes"

	LegMOS               = "freeswitch.leg.mos"
	LegMOSConversational = "freeswitch.leg.mos_cq"
	LegJitter            = "freeswitch.leg.jitter"
	LegJitterMax         = "freeswitch.leg.jitter_max"
	LegPackets           = "freeswitch.leg.packets"
	LegPacketsLost       = "freeswitch.leg.packets_lost"
	LegPacketsFlushed    = "freeswitch.leg.packets_flushed"
	LegPacketsUnreported = "freeswitch.leg.packets_unreported"
	LegBytes             = "freeswitch.leg.bytes"
	LegLossBurstRatio    = "freeswitch.leg.loss_burst_ratio"
	LegRTT               = "freeswitch.leg.rtt"
	LegNoMedia           = "freeswitch.leg.no_media"
	LegCoverage          = "freeswitch.leg.coverage"
)

// Metric is what is said of a metric to whoever stores it.
type Metric struct {
	Name string
	// Unit is UCUM, annotations in braces.
	Unit        string
	Description string
	// Whole: its values are whole numbers.
	Whole bool
}

// Metrics are all metrics, in the order in which Values gives them. Each is a
// gauge; RTCPPacketsLost can be sent as a cumulative sum.
func Metrics() []Metric {
	return []Metric{
		{RTCPJitter, "ms", "Interarrival jitter of a report (RFC 3550).", false},
		{RTCPPacketsLost, "{packet}", "RTP packets lost between two reports.", true},
		{RTCPPacketsExpected, "{packet}", "RTP packets expected between two reports.", true},
		{RTCPFractionLost, "1", "Share of the expected packets that was lost between two reports.", false},
		{RTCPRoundTripTime, "ms", "Round-trip time as FreeSWITCH reports it.", false},
		{RTCPMOS, "{score}", "E-model listening quality between two reports.", false},
		{RTCPNoMedia, "ms", "Time without media since the report before, if there was any.", false},
		{QOSMOS, "{score}", "MOS of the worse direction of an ended leg.", false},
		{QOSJitterAvg, "ms", "Mean of the mean jitter of both directions of an ended leg.", false},
		{QOSJitterMin, "ms", "Least jitter reported in either direction of an ended leg.", false},
		{QOSJitterMax, "ms", "Greatest jitter reported in either direction of an ended leg.", false},
		{QOSTotalPackets, "{packet}", "RTP packets received and sent by an ended leg.", true},
		{QOSPacketLoss, "{packet}", "RTP packets lost in both directions of an ended leg.", true},
		{QOSTotalBytes, "By", "RTP bytes received and sent by an ended leg.", true},
		{LegMOS, "{score}", "MOS of one direction of an ended leg.", false},
		{LegMOSConversational, "{score}", "E-model conversational quality of one direction of an ended leg.", false},
		{LegJitter, "ms", "Mean jitter of one direction of an ended leg.", false},
		{LegJitterMax, "ms", "Greatest jitter of one direction of an ended leg.", false},
		{LegPackets, "{packet}", "RTP packets of one direction of an ended leg.", true},
		{LegPacketsLost, "{packet}", "RTP packets lost in one direction of an ended leg.", true},
		{LegPacketsFlushed, "{packet}", "RTP packets that FreeSWITCH reported as lost and had flushed itself.", true},
		{LegPacketsUnreported, "{packet}", "RTP packets sent before the first and after the last report.", true},
		{LegBytes, "By", "RTP bytes of one direction of an ended leg.", true},
		{LegLossBurstRatio, "1", "Mean length of the runs of lost packets over that of random loss.", false},
		{LegRTT, "ms", "Last round-trip time of one direction of an ended leg.", false},
		{LegNoMedia, "ms", "Time without media in one direction of an ended leg.", false},
		{LegCoverage, "1", "Share of the answered time that reports of one direction cover.", false},
	}
}

// Value is one metric of a sample.
type Value struct {
	Metric    string
	Direction fsagentv1.Direction // DIRECTION_UNSPECIFIED: the whole leg
	// Float is the value, Int the same where Whole.
	Float float64
	Int   int64
	Whole bool
}

// Values walks the metrics that a sample has, in a fixed order. What was not
// measured is left out.
func Values(s *fsagentv1.Sample) iter.Seq[Value] {
	return func(yield func(Value) bool) {
		w := walk{yield: yield, direction: s.GetDirection()}
		switch KindOf(s) {
		case Report:
			w.report(s.GetReport())
		case LegEnd:
			m := s.GetLegEnd()
			w.legEnd(m)
			end := s.GetTimeUs()
			if m.GetLastEventUs() > 0 {
				end = m.GetLastEventUs() // its own end was not seen
			}
			answered := end - m.GetAnsweredTimeUs()
			if m.GetAnsweredTimeUs() == 0 {
				answered = 0
			}
			w.direction = fsagentv1.Direction_DIRECTION_INBOUND
			w.summary(m.GetInbound(), answered)
			w.direction = fsagentv1.Direction_DIRECTION_OUTBOUND
			w.summary(m.GetOutbound(), answered)
		}
	}
}

type walk struct {
	yield     func(Value) bool
	direction fsagentv1.Direction
	stopped   bool
}

func (w *walk) float(name string, has bool, v float64) {
	if has && !w.stopped {
		w.stopped = !w.yield(Value{Metric: name, Direction: w.direction, Float: v})
	}
}

func (w *walk) whole(name string, has bool, v int64) {
	if has && !w.stopped {
		w.stopped = !w.yield(Value{Metric: name, Direction: w.direction, Float: float64(v), Int: v, Whole: true})
	}
}

func (w *walk) report(m *fsagentv1.Report) {
	w.float(RTCPJitter, m.HasJitterMs(), m.GetJitterMs())
	w.whole(RTCPPacketsLost, m.HasPacketsLost(), m.GetPacketsLost())
	w.whole(RTCPPacketsExpected, m.HasPacketsExpected(), m.GetPacketsExpected())
	w.float(RTCPFractionLost, m.HasFractionLost(), m.GetFractionLost())
	w.float(RTCPRoundTripTime, m.HasRoundTripTimeMs(), m.GetRoundTripTimeMs())
	w.float(RTCPMOS, m.HasMos(), m.GetMos())
	w.float(RTCPNoMedia, m.GetNoMediaUs() > 0, float64(m.GetNoMediaUs())/1e3)
}

func (w *walk) legEnd(m *fsagentv1.LegEnd) {
	w.float(QOSMOS, m.HasMos(), m.GetMos())
	w.float(QOSJitterAvg, m.HasJitterAvgMs(), m.GetJitterAvgMs())
	w.float(QOSJitterMin, m.HasJitterMinMs(), m.GetJitterMinMs())
	w.float(QOSJitterMax, m.HasJitterMaxMs(), m.GetJitterMaxMs())
	w.whole(QOSTotalPackets, m.HasTotalPackets(), m.GetTotalPackets())
	w.whole(QOSPacketLoss, m.HasPacketLoss(), m.GetPacketLoss())
	w.whole(QOSTotalBytes, m.HasTotalBytes(), m.GetTotalBytes())
}

// summary is one direction; answered is the answered time in microseconds.
func (w *walk) summary(m *fsagentv1.DirectionSummary, answered int64) {
	if m == nil {
		return
	}
	w.float(LegMOS, m.HasMos(), m.GetMos())
	w.float(LegMOSConversational, m.HasMosCq(), m.GetMosCq())
	w.float(LegJitter, m.HasJitterMeanMs(), m.GetJitterMeanMs())
	w.float(LegJitterMax, m.HasJitterMaxMs(), m.GetJitterMaxMs())
	w.whole(LegPackets, m.HasPackets(), m.GetPackets())
	w.whole(LegPacketsLost, m.HasPacketsLost(), m.GetPacketsLost())
	w.whole(LegPacketsFlushed, m.GetPacketsFlushed() > 0, m.GetPacketsFlushed())
	w.whole(LegPacketsUnreported, m.HasPacketsUnreported(), m.GetPacketsUnreported())
	w.whole(LegBytes, m.HasBytes(), m.GetBytes())
	w.float(LegLossBurstRatio, m.HasLossBurstRatio(), m.GetLossBurstRatio())
	w.float(LegRTT, m.HasRoundTripTimeMs(), m.GetRoundTripTimeMs())
	w.float(LegNoMedia, m.GetNoMediaUs() > 0, float64(m.GetNoMediaUs())/1e3)
	if answered > 0 {
		w.float(LegCoverage, true, min(float64(m.GetCoveredUs())/float64(answered), 1))
	}
}
