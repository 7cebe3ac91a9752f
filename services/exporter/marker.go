package exporter

import (
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// markerDelay is how long after the end of a leg its markers are: at the time of
// the last point they would be a second value for one time, and Prometheus keeps
// milliseconds.
const markerDelay = time.Millisecond

// marker ends the series of one direction's reports.
type marker struct {
	sample *fsagentv1.Sample
	values []measurement
}

// markers of an ended leg: points without a value ("no recorded value") that end
// the series of its reports, so that a query at one instant does not show the
// last report for minutes. The series of the account itself are not ended: it is
// one point, and would never be seen. Time and labels are made of the sample
// alone, so that a redelivery makes the same.
func markers(s *fsagentv1.Sample) []marker {
	var out []marker
	for _, side := range []struct {
		direction fsagentv1.Direction
		summary   *fsagentv1.DirectionSummary
	}{
		{fsagentv1.Direction_DIRECTION_INBOUND, s.GetLegEnd().GetInbound()},
		{fsagentv1.Direction_DIRECTION_OUTBOUND, s.GetLegEnd().GetOutbound()},
	} {
		if values := endedSeries(side.summary); len(values) > 0 {
			out = append(out, marker{sample: markerSample(s, side.direction), values: values})
		}
	}
	return out
}

func markerSample(s *fsagentv1.Sample, d fsagentv1.Direction) *fsagentv1.Sample {
	return fsagentv1.Sample_builder{
		EventId: s.GetEventId(), TimeUs: s.GetTimeUs() + markerDelay.Microseconds(), Direction: d,
		FsInstance: s.GetFsInstance(), ChannelId: s.GetChannelId(), CorrelationId: s.GetCorrelationId(),
		CallId: s.GetCallId(), DomainName: s.GetDomainName(), Report: &fsagentv1.Report{},
	}.Build()
}

// endedSeries are the metrics that the reports of a direction had.
func endedSeries(d *fsagentv1.DirectionSummary) []measurement {
	var out []measurement
	end := func(has bool, ids ...metricID) {
		for _, id := range ids {
			if has {
				out = append(out, measurement{metric: id, ended: true})
			}
		}
	}
	end(d.HasJitterMeanMs(), rtcpJitter)
	end(d.HasPacketsExpected(), rtcpPacketsLost, rtcpPacketsExpected, rtcpFractionLost)
	end(d.HasRoundTripTimeMs(), rtcpRoundTripTime)
	end(d.GetNoMediaUs() > 0, rtcpNoMedia)
	if d.HasMos() {
		out = append(out, measurement{metric: rtcpMOS, source: d.GetMosSource(), ended: true})
	}
	return out
}
