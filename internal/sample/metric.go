package sample

import (
	"iter"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// Names of the metrics. docs/metrics.md says what each one means.
const (
	RTCPJitter          = "freeswitch.rtcp.jitter"           // ms
	RTCPPacketsLost     = "freeswitch.rtcp.packets_lost"     // {packet}
	RTCPPacketsExpected = "freeswitch.rtcp.packets_expected" // {packet}
	RTCPFractionLost    = "freeswitch.rtcp.fraction_lost"    // 1
	RTCPRoundTripTime   = "freeswitch.rtcp.round_trip_time"  // ms
	RTCPMOS             = "freeswitch.rtcp.mos_score"        // {score}

	QOSMOS          = "freeswitch.qos.mos_score"     // {score}
	QOSJitterAvg    = "freeswitch.qos.jitter_avg"    // ms
	QOSJitterMin    = "freeswitch.qos.jitter_min"    // ms
	QOSJitterMax    = "freeswitch.qos.jitter_max"    // ms
	QOSTotalPackets = "freeswitch.qos.total_packets" // {packet}
	QOSPacketLoss   = "freeswitch.qos.packet_loss"   // {packet}
	QOSTotalBytes   = "freeswitch.qos.total_bytes"   // By

	LegMOS         = "freeswitch.leg.mos"          // {score}
	LegJitter      = "freeswitch.leg.jitter"       // ms
	LegJitterMax   = "freeswitch.leg.jitter_max"   // ms
	LegPackets     = "freeswitch.leg.packets"      // {packet}
	LegPacketsLost = "freeswitch.leg.packets_lost" // {packet}
	LegBytes       = "freeswitch.leg.bytes"        // By
	LegRTT         = "freeswitch.leg.rtt"          // ms
	LegCoverage    = "freeswitch.leg.coverage"     // 1
)

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
			answered := s.GetTimeUs() - m.GetAnsweredTimeUs()
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
	w.float(LegJitter, m.HasJitterMeanMs(), m.GetJitterMeanMs())
	w.float(LegJitterMax, m.HasJitterMaxMs(), m.GetJitterMaxMs())
	w.whole(LegPackets, m.HasPackets(), m.GetPackets())
	w.whole(LegPacketsLost, m.HasPacketsLost(), m.GetPacketsLost())
	w.whole(LegBytes, m.HasBytes(), m.GetBytes())
	w.float(LegRTT, m.HasRoundTripTimeMs(), m.GetRoundTripTimeMs())
	if answered > 0 {
		w.float(LegCoverage, true, min(float64(m.GetCoveredUs())/float64(answered), 1))
	}
}
