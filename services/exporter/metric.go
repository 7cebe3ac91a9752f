package exporter

import fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

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
	metricCount
)

// metrics that are sent. Units are UCUM, annotations in braces; the numbers of
// an integer metric are int64, else double.
var metrics = [metricCount]struct {
	name, unit, description string
	integer                 bool
}{
	rtcpJitter:          {"freeswitch.rtcp.jitter", "ms", "Interarrival jitter of a report (RFC 3550).", false},
	rtcpPacketsLost:     {"freeswitch.rtcp.packets_lost", "{packet}", "RTP packets lost between two reports.", true},
	rtcpPacketsExpected: {"freeswitch.rtcp.packets_expected", "{packet}", "RTP packets expected between two reports.", true},
	rtcpFractionLost:    {"freeswitch.rtcp.fraction_lost", "1", "Share of the expected packets that was lost between two reports.", false},
	rtcpRoundTripTime:   {"freeswitch.rtcp.round_trip_time", "ms", "Round-trip time as FreeSWITCH reports it.", false},
	rtcpMOS:             {"freeswitch.rtcp.mos_score", "{score}", "E-model listening quality between two reports.", false},
	qosMOS:              {"freeswitch.qos.mos_score", "{score}", "MOS of the worse direction of an ended leg.", false},
	qosJitterAvg:        {"freeswitch.qos.jitter_avg", "ms", "Mean of the mean jitter of both directions of an ended leg.", false},
	qosJitterMin:        {"freeswitch.qos.jitter_min", "ms", "Least jitter reported in either direction of an ended leg.", false},
	qosJitterMax:        {"freeswitch.qos.jitter_max", "ms", "Greatest jitter reported in either direction of an ended leg.", false},
	qosTotalPackets:     {"freeswitch.qos.total_packets", "{packet}", "RTP packets received and sent by an ended leg.", true},
	qosPacketLoss:       {"freeswitch.qos.packet_loss", "{packet}", "RTP packets lost in both directions of an ended leg.", true},
	qosTotalBytes:       {"freeswitch.qos.total_bytes", "By", "RTP bytes received and sent by an ended leg.", true},
	legMOS:              {"freeswitch.leg.mos", "{score}", "MOS of one direction of an ended leg.", false},
	legJitter:           {"freeswitch.leg.jitter", "ms", "Mean jitter of one direction of an ended leg.", false},
	legJitterMax:        {"freeswitch.leg.jitter_max", "ms", "Greatest jitter of one direction of an ended leg.", false},
	legPackets:          {"freeswitch.leg.packets", "{packet}", "RTP packets of one direction of an ended leg.", true},
	legPacketsLost:      {"freeswitch.leg.packets_lost", "{packet}", "RTP packets lost in one direction of an ended leg.", true},
	legBytes:            {"freeswitch.leg.bytes", "By", "RTP bytes of one direction of an ended leg.", true},
	legRTT:              {"freeswitch.leg.rtt", "ms", "Last round-trip time of one direction of an ended leg.", false},
}

// mosSource is the name of a way to make a MOS, "" if unknown.
func mosSource(s fsagentv1.MosSource) string {
	switch s {
	case fsagentv1.MosSource_MOS_SOURCE_G107:
		return "g107"
	case fsagentv1.MosSource_MOS_SOURCE_G107_1:
		return "g107.1"
	case fsagentv1.MosSource_MOS_SOURCE_G107_2:
		return "g107.2"
	case fsagentv1.MosSource_MOS_SOURCE_FREESWITCH:
		return "freeswitch"
	}
	return ""
}

// direction is the label of a direction, "" for the whole leg.
func direction(d fsagentv1.Direction) string {
	switch d {
	case fsagentv1.Direction_DIRECTION_INBOUND:
		return "inbound"
	case fsagentv1.Direction_DIRECTION_OUTBOUND:
		return "outbound"
	}
	return ""
}
