package sample

import (
	"strconv"
	"strings"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// AppendText adds the text form of a sample: a line with its time and identity,
// a line with its labels, and an indented line for every value and for every
// reason why there is none. Numbers are in full precision, so that equal text is
// equal samples.
func AppendText(b []byte, s *fsagentv1.Sample) []byte {
	b = time.UnixMicro(s.GetTimeUs()).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, ' ')
	b = append(b, IdentityOf(s).String()...)
	b = append(b, "\n "...)
	for _, l := range labels(s) {
		if l[1] != "" {
			b = append(append(append(append(b, ' '), l[0]...), '='), quote(l[1])...)
		}
	}
	b = append(b, '\n')
	for v := range Values(s) {
		b = appendValue(b, s, v)
	}
	switch KindOf(s) {
	case Report:
		b = appendReportNotes(b, s.GetReport())
	case LegEnd:
		b = appendLegEndNotes(b, s.GetLegEnd())
	}
	return b
}

func labels(s *fsagentv1.Sample) [9][2]string {
	return [...][2]string{
		{"fs_instance", s.GetFsInstance()}, {"channel_id", s.GetChannelId()}, {"correlation_id", s.GetCorrelationId()},
		{"call_id", s.GetCallId()}, {"domain_name", s.GetDomainName()}, {"media", s.GetMedia()},
		{"codec_name", s.GetCodecName()}, {"src_ip", s.GetSrcIp()}, {"dst_ip", s.GetDstIp()},
	}
}

// quote leaves plain words as they are.
func quote(v string) string {
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '"' || r > '~' }) {
		return strconv.Quote(v)
	}
	return v
}

func appendValue(b []byte, s *fsagentv1.Sample, v Value) []byte {
	b = append(append(b, "    "...), v.Metric...)
	if d := DirectionName(v.Direction); d != "" && KindOf(s) == LegEnd {
		b = append(append(append(b, '{'), d...), '}')
	}
	b = append(b, " = "...)
	if v.Whole {
		b = strconv.AppendInt(b, v.Int, 10)
	} else {
		b = strconv.AppendFloat(b, v.Float, 'g', -1, 64)
	}
	return append(b, '\n')
}

type notes []byte

func (n *notes) text(name, value string) {
	if value != "" {
		*n = append(append(append(append(append(*n, "    "...), name...), ": "...), quote(value)...), '\n')
	}
}

func (n *notes) number(name string, v int64) {
	if v != 0 {
		n.text(name, strconv.FormatInt(v, 10))
	}
}

func (n *notes) flag(name string, v bool) {
	if v {
		n.text(name, "true")
	}
}

// enum is the name of an enumerated value without its prefix, in lower case; ""
// for the unspecified value.
func enum(name, prefix string) string {
	name = strings.TrimPrefix(name, prefix)
	if name == "UNSPECIFIED" {
		return ""
	}
	return strings.ToLower(name)
}

// ReasonName is the name of a reason as labels and text have it, "" for none.
func ReasonName(r fsagentv1.Reason) string { return enum(r.String(), "REASON_") }

// ArtefactName is the name of an artefact as labels and text have it.
func ArtefactName(a fsagentv1.Artefact) string { return enum(a.String(), "ARTEFACT_") }

// AssumptionName is the name of an input that was not measured.
func AssumptionName(a fsagentv1.Assumption) string { return enum(a.String(), "ASSUMPTION_") }

// MOSSourceName is the value of the labels mos_source and mos_model, "" for none.
func MOSSourceName(s fsagentv1.MosSource) string {
	return strings.ReplaceAll(enum(s.String(), "MOS_SOURCE_"), "_", ".")
}

func appendReportNotes(b []byte, m *fsagentv1.Report) []byte {
	n := notes(b)
	n.text("mos_source", MOSSourceName(m.GetMosSource()))
	n.text("mos_reason", ReasonName(m.GetMosReason()))
	n.flag("concealment_assumed", m.GetConcealmentAssumed())
	n.quality("", m)
	n.number("packets_lost_total", m.GetPacketsLostTotal())
	n.number("packets_flushed", m.GetPacketsFlushed())
	n.number("interval_us", m.GetIntervalUs())
	for _, a := range m.GetArtefacts() {
		n.text("artefact", ArtefactName(a))
	}
	return n
}

func appendLegEndNotes(b []byte, m *fsagentv1.LegEnd) []byte {
	n := notes(b)
	n.text("mos_source", MOSSourceName(m.GetMosSource()))
	n.text("mos_reason", ReasonName(m.GetMosReason()))
	n.text("jitter_reason", ReasonName(m.GetJitterReason()))
	n.text("total_reason", ReasonName(m.GetTotalReason()))
	n.text("packet_loss_reason", ReasonName(m.GetPacketLossReason()))
	n.number("created_time_us", m.GetCreatedTimeUs())
	n.number("answered_time_us", m.GetAnsweredTimeUs())
	n.text("hangup_cause", m.GetHangupCause())
	n.text("end_reason", ReasonName(m.GetEndReason()))
	n.number("last_event_us", m.GetLastEventUs())
	n.flag("after_end_unknown", m.GetAfterEndUnknown())
	n.number("held_us", m.GetHeldUs())
	n.flag("gap", m.GetGap())
	n.summary("inbound", m.GetInbound())
	n.summary("outbound", m.GetOutbound())
	return n
}

func (n *notes) summary(direction string, m *fsagentv1.DirectionSummary) {
	n.number(direction+" reports", int64(m.GetReports()))
	n.text(direction+" reason", ReasonName(m.GetReason()))
	n.text(direction+" mos_source", MOSSourceName(m.GetMosSource()))
	n.text(direction+" mos_reason", ReasonName(m.GetMosReason()))
	n.flag(direction+" concealment_assumed", m.GetConcealmentAssumed())
	n.quality(direction+" ", m)
	n.text(direction+" burst_ratio_reason", ReasonName(m.GetBurstRatioReason()))
	n.number(direction+" packets_expected", m.GetPacketsExpected())
	n.number(direction+" packets_lost_before", m.GetPacketsLostBefore())
	n.number(direction+" covered_us", m.GetCoveredUs())
	n.number(direction+" unreported_us", m.GetUnreportedUs())
	for _, a := range m.GetArtefacts() {
		n.text(direction+" artefact", ArtefactName(a.GetArtefact())+" x "+strconv.FormatUint(uint64(a.GetCount()), 10))
	}
}

// rated is a message with a conversational MOS and its inputs.
type rated interface {
	HasMosCq() bool
	GetMosCq() float64
	GetMosReason() fsagentv1.Reason
	GetMosCqReason() fsagentv1.Reason
	GetMosInputs() *fsagentv1.MosInputs
}

// quality is the conversational MOS, and what both MOS were made of.
func (n *notes) quality(prefix string, m rated) {
	if m.HasMosCq() {
		n.text(prefix+"mos_cq", strconv.FormatFloat(m.GetMosCq(), 'g', -1, 64))
	}
	if m.GetMosCqReason() != m.GetMosReason() {
		n.text(prefix+"mos_cq_reason", ReasonName(m.GetMosCqReason()))
	}
	in := m.GetMosInputs()
	if in == nil {
		return
	}
	b := []byte("ie=")
	b = strconv.AppendFloat(b, in.GetIe(), 'g', -1, 64)
	b = strconv.AppendFloat(append(b, " bpl="...), in.GetBpl(), 'g', -1, 64)
	b = strconv.AppendFloat(append(b, " ppl="...), in.GetPpl(), 'g', -1, 64)
	b = strconv.AppendFloat(append(b, " burst_r="...), in.GetBurstR(), 'g', -1, 64)
	if in.GetTaMs() > 0 {
		b = strconv.AppendFloat(append(b, " ta_ms="...), in.GetTaMs(), 'g', -1, 64)
	}
	for i, a := range in.GetAssumed() {
		sep := "+"
		if i == 0 {
			sep = " assumed="
		}
		b = append(append(b, sep...), AssumptionName(a)...)
	}
	if in.GetExtrapolated() {
		b = append(b, " extrapolated"...)
	}
	*n = append(append(append(append(append(*n, "    "...), prefix...), "mos_inputs: "...), b...), '\n')
}
