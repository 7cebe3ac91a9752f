package exporter

import (
	"math"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// measurement is one value of a sample: a point without its time and the labels
// that it shares with its sample.
type measurement struct {
	metric metricID
	// direction and source are labels of this value beside those of the sample;
	// unspecified means none.
	direction fsagentv1.Direction
	source    fsagentv1.MosSource
	// integer is the value of an integer metric, double that of any other.
	integer int64
	double  float64
}

// measurer knows which values of a sample are sent.
type measurer struct {
	skipZero   bool
	cumulative bool
}

// measure appends the values of s to dst. What was not measured is not there.
func (m measurer) measure(dst []measurement, s *fsagentv1.Sample) []measurement {
	from := len(dst)
	switch {
	case s.HasReport():
		dst = m.report(dst, s.GetReport())
	case s.HasLegEnd():
		dst = legEnd(dst, s.GetLegEnd())
	}
	if m.skipZero {
		return m.withoutZeros(dst, from)
	}
	return dst
}

func (m measurer) report(dst []measurement, r *fsagentv1.Report) []measurement {
	dst = double(dst, rtcpJitter, r.HasJitterMs(), r.GetJitterMs())
	lost := r.GetPacketsLost()
	if m.cumulative {
		lost = r.GetPacketsLostTotal()
	}
	dst = integer(dst, rtcpPacketsLost, r.HasPacketsLost(), lost)
	dst = integer(dst, rtcpPacketsExpected, r.HasPacketsExpected(), r.GetPacketsExpected())
	dst = double(dst, rtcpFractionLost, r.HasFractionLost(), r.GetFractionLost())
	dst = double(dst, rtcpRoundTripTime, r.HasRoundTripTimeMs(), r.GetRoundTripTimeMs())
	return score(dst, rtcpMOS, r.HasMos(), r.GetMos(), r.GetMosSource())
}

func legEnd(dst []measurement, e *fsagentv1.LegEnd) []measurement {
	dst = score(dst, qosMOS, e.HasMos(), e.GetMos(), e.GetMosSource())
	dst = double(dst, qosJitterAvg, e.HasJitterAvgMs(), e.GetJitterAvgMs())
	dst = double(dst, qosJitterMin, e.HasJitterMinMs(), e.GetJitterMinMs())
	dst = double(dst, qosJitterMax, e.HasJitterMaxMs(), e.GetJitterMaxMs())
	dst = integer(dst, qosTotalPackets, e.HasTotalPackets(), e.GetTotalPackets())
	dst = integer(dst, qosPacketLoss, e.HasPacketLoss(), e.GetPacketLoss())
	dst = integer(dst, qosTotalBytes, e.HasTotalBytes(), e.GetTotalBytes())
	dst = summary(dst, fsagentv1.Direction_DIRECTION_INBOUND, e.GetInbound())
	return summary(dst, fsagentv1.Direction_DIRECTION_OUTBOUND, e.GetOutbound())
}

func summary(dst []measurement, d fsagentv1.Direction, s *fsagentv1.DirectionSummary) []measurement {
	from := len(dst)
	dst = score(dst, legMOS, s.HasMos(), s.GetMos(), s.GetMosSource())
	dst = double(dst, legJitter, s.HasJitterMeanMs(), s.GetJitterMeanMs())
	dst = double(dst, legJitterMax, s.HasJitterMaxMs(), s.GetJitterMaxMs())
	dst = integer(dst, legPackets, s.HasPackets(), s.GetPackets())
	dst = integer(dst, legPacketsLost, s.HasPacketsLost(), s.GetPacketsLost())
	dst = integer(dst, legBytes, s.HasBytes(), s.GetBytes())
	dst = double(dst, legRTT, s.HasRoundTripTimeMs(), s.GetRoundTripTimeMs())
	for i := range dst[from:] {
		dst[from+i].direction = d
	}
	return dst
}

func double(dst []measurement, id metricID, measured bool, v float64) []measurement {
	if !measured {
		return dst
	}
	return append(dst, measurement{metric: id, double: v})
}

func integer(dst []measurement, id metricID, measured bool, v int64) []measurement {
	if !measured {
		return dst
	}
	return append(dst, measurement{metric: id, integer: v})
}

func score(dst []measurement, id metricID, measured bool, v float64, source fsagentv1.MosSource) []measurement {
	if !measured {
		return dst
	}
	return append(dst, measurement{metric: id, double: v, source: source})
}

func (m measurer) withoutZeros(ms []measurement, from int) []measurement {
	kept := ms[:from]
	for _, v := range ms[from:] {
		sum := m.cumulative && v.metric == rtcpPacketsLost
		if sum || v.integer != 0 || v.double != 0 {
			kept = append(kept, v)
		}
	}
	return kept
}

// finite holds if every value is a number; the others are no measurements.
func finite(ms []measurement) bool {
	for _, v := range ms {
		if math.IsNaN(v.double) || math.IsInf(v.double, 0) {
			return false
		}
	}
	return true
}
