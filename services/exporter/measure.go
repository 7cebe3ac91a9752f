package exporter

import (
	"math"

	"github.com/fsagent/fsagent/internal/sample"
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
	// ended is a point without a value that ends its series.
	ended bool
}

// measurer knows which values of a sample are sent, and as what.
type measurer struct {
	skipZero   bool
	cumulative bool
}

// measure appends the values of s to dst. What was not measured is not there.
func (m measurer) measure(dst []measurement, s *fsagentv1.Sample) []measurement {
	for v := range sample.Values(s) {
		id, ok := metricIDs[v.Metric]
		if !ok {
			continue // a test holds the table to what samples have
		}
		sum := m.cumulative && id == rtcpPacketsLost
		if m.skipZero && !sum && v.Float == 0 {
			continue
		}
		out := measurement{metric: id, source: source(id, v.Direction, s)}
		if s.HasLegEnd() {
			out.direction = v.Direction // of a report it is a label of the sample
		}
		switch {
		case sum:
			out.integer = s.GetReport().GetPacketsLostTotal()
		case metrics[id].integer:
			out.integer = v.Int
		default:
			out.double = v.Float
		}
		dst = append(dst, out)
	}
	return dst
}

// source says how a MOS was made; other metrics have none.
func source(id metricID, d fsagentv1.Direction, s *fsagentv1.Sample) fsagentv1.MosSource {
	switch id {
	case rtcpMOS:
		return s.GetReport().GetMosSource()
	case qosMOS:
		return s.GetLegEnd().GetMosSource()
	case legMOS:
		if d == fsagentv1.Direction_DIRECTION_INBOUND {
			return s.GetLegEnd().GetInbound().GetMosSource()
		}
		return s.GetLegEnd().GetOutbound().GetMosSource()
	}
	return fsagentv1.MosSource_MOS_SOURCE_UNSPECIFIED
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
