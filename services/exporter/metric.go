package exporter

import "github.com/fsagent/fsagent/internal/sample"

// metricID is an index of metrics.
type metricID uint8

const (
	rtcpJitter metricID = iota
	rtcpPacketsLost
	rtcpPacketsExpected
	rtcpFractionLost
	rtcpRoundTripTime
	rtcpMOS
	qosMOS
	qosJitterAvg
	qosJitterMin
	qosJitterMax
	qosTotalPackets
	qosPacketLoss
	qosTotalBytes
	legMOS
	legJitter
	legJitterMax
	legPackets
	legPacketsLost
	legBytes
	legRTT
	legCoverage
	metricCount
)

// metrics that are sent. Units are UCUM, annotations in braces; the numbers of
// an integer metric are int64, else double.
var metrics = [metricCount]struct {
	name, unit, description string
	integer                 bool
}{
	rtcpJitter:          {sample.RTCPJitter, "ms", "Interarrival jitter of a report (RFC 3550).", false},
	rtcpPacketsLost:     {sample.RTCPPacketsLost, "{packet}", "RTP packets lost between two reports.", true},
	rtcpPacketsExpected: {sample.RTCPPacketsExpected, "{packet}", "RTP packets expected between two reports.", true},
	rtcpFractionLost:    {sample.RTCPFractionLost, "1", "Share of the expected packets that was lost between two reports.", false},
	rtcpRoundTripTime:   {sample.RTCPRoundTripTime, "ms", "Round-trip time as FreeSWITCH reports it.", false},
	rtcpMOS:             {sample.RTCPMOS, "{score}", "E-model listening quality between two reports.", false},
	qosMOS:              {sample.QOSMOS, "{score}", "MOS of the worse direction of an ended leg.", false},
	qosJitterAvg:        {sample.QOSJitterAvg, "ms", "Mean of the mean jitter of both directions of an ended leg.", false},
	qosJitterMin:        {sample.QOSJitterMin, "ms", "Least jitter reported in either direction of an ended leg.", false},
	qosJitterMax:        {sample.QOSJitterMax, "ms", "Greatest jitter reported in either direction of an ended leg.", false},
	qosTotalPackets:     {sample.QOSTotalPackets, "{packet}", "RTP packets received and sent by an ended leg.", true},
	qosPacketLoss:       {sample.QOSPacketLoss, "{packet}", "RTP packets lost in both directions of an ended leg.", true},
	qosTotalBytes:       {sample.QOSTotalBytes, "By", "RTP bytes received and sent by an ended leg.", true},
	legMOS:              {sample.LegMOS, "{score}", "MOS of one direction of an ended leg.", false},
	legJitter:           {sample.LegJitter, "ms", "Mean jitter of one direction of an ended leg.", false},
	legJitterMax:        {sample.LegJitterMax, "ms", "Greatest jitter of one direction of an ended leg.", false},
	legPackets:          {sample.LegPackets, "{packet}", "RTP packets of one direction of an ended leg.", true},
	legPacketsLost:      {sample.LegPacketsLost, "{packet}", "RTP packets lost in one direction of an ended leg.", true},
	legBytes:            {sample.LegBytes, "By", "RTP bytes of one direction of an ended leg.", true},
	legRTT:              {sample.LegRTT, "ms", "Last round-trip time of one direction of an ended leg.", false},
	legCoverage:         {sample.LegCoverage, "1", "Share of the answered time that reports of one direction cover.", false},
}

// metricIDs is the index of each metric by its name.
var metricIDs = func() map[string]metricID {
	ids := make(map[string]metricID, metricCount)
	for id, m := range metrics {
		ids[m.name] = metricID(id)
	}
	return ids
}()
