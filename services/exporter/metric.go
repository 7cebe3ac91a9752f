package exporter

import "github.com/fsagent/fsagent/internal/sample"

// metricID is an index of metrics.
type metricID uint8

// In the order of sample.Metrics.
const (
	rtcpJitter metricID = iota
	rtcpPacketsLost
	rtcpPacketsExpected
	rtcpFractionLost
	rtcpRoundTripTime
	rtcpMOS
	rtcpNoMedia
	qosMOS
	qosJitterAvg
	qosJitterMin
	qosJitterMax
	qosTotalPackets
	qosPacketLoss
	qosTotalBytes
	legMOS
	legMOSConversational
	legJitter
	legJitterMax
	legPackets
	legPacketsLost
	legPacketsFlushed
	legPacketsUnreported
	legBytes
	legLossBurstRatio
	legRTT
	legNoMedia
	legCoverage
	metricCount
)

// metrics that are sent: those of package sample. The numbers of an integer
// metric are int64, else double.
var metrics = func() (out [metricCount]struct {
	name, unit, description string
	integer                 bool
},
) {
	for i, m := range sample.Metrics() {
		out[i].name, out[i].unit, out[i].description, out[i].integer = m.Name, m.Unit, m.Description, m.Whole
	}
	return out
}()

// metricIDs is the index of each metric by its name.
var metricIDs = func() map[string]metricID {
	ids := make(map[string]metricID, metricCount)
	for id, m := range metrics {
		ids[m.name] = metricID(id)
	}
	return ids
}()
