package explain

import (
	"strings"

	"github.com/fsagent/fsagent/internal/emodel"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// quality tells how the MOS of a report was made.
func (st *story) quality(s leg.Step) {
	m := s.Sample.GetReport()
	st.rating(s.Codec, m.GetMosSource(), m.GetMosInputs(), m.GetMos())
	if m.HasMosCq() {
		st.conversation(m.GetMosSource(), m.GetMosInputs(), m.GetMosCq())
	} else {
		st.missing("MOS-CQ", m.GetMosCqReason())
	}
}

var standards = map[fsagentv1.MosSource]emodel.Standard{
	fsagentv1.MosSource_MOS_SOURCE_G107: emodel.G107, fsagentv1.MosSource_MOS_SOURCE_G107_1: emodel.G1071,
	fsagentv1.MosSource_MOS_SOURCE_G107_2: emodel.G1072,
}

// rating tells the terms of listening quality.
func (st *story) rating(codec string, source fsagentv1.MosSource, in *fsagentv1.MosInputs, mos float64) {
	s := standards[source]
	st.line("E-model", "%s, %s: Ie %g, Bpl %g, Ppl %.4f %%, BurstR %g", s.Edition(), codec, in.GetIe(), in.GetBpl(), in.GetPpl(), in.GetBurstR())
	st.news("", "assumed", assumed(in))
	st.terms(s, in, 0)
	st.line("MOS", "%.6f (listening)", mos)
	if in.GetExtrapolated() {
		st.line("mind", "outside the range of the model: over 20 %% loss or 500 ms")
	}
}

// conversation tells the terms of conversational quality.
func (st *story) conversation(source fsagentv1.MosSource, in *fsagentv1.MosInputs, mos float64) {
	st.line("delay", "Ta = round trip / 2 + jitter buffer + packet time + look-ahead = %g ms", in.GetTaMs())
	st.terms(standards[source], in, in.GetTaMs())
	st.line("MOS-CQ", "%.6f (conversational)", mos)
}

func (st *story) terms(s emodel.Standard, in *fsagentv1.MosInputs, ta float64) {
	r, err := s.Rate(emodel.Input{Ie: in.GetIe(), Bpl: in.GetBpl(), Ppl: in.GetPpl(), BurstR: in.GetBurstR(), Ta: ta})
	if err != nil {
		st.line("R", "%v", err)
		return
	}
	st.line("R", "Ro %.3f - Is %.3f - Idte %.3f - Idle %.3f - Idd %.3f - Ie,eff %.3f + A %.0f = %.3f",
		r.Ro, r.Is, r.Idte, r.Idle, r.Idd, r.IeEff, r.A, r.R)
}

func assumed(in *fsagentv1.MosInputs) string {
	var names []string
	for _, a := range in.GetAssumed() {
		names = append(names, assumptions[a])
	}
	return strings.Join(names, "; ")
}

// end tells the account of a leg.
func (st *story) end(s *fsagentv1.Sample, m *fsagentv1.LegEnd) {
	st.text.WriteString("\n  The account of the leg\n")
	if m.GetEndReason() != 0 {
		st.missing("end", m.GetEndReason())
	}
	if m.GetAfterEndUnknown() {
		st.line("mind", "takes the place of an earlier account without the end")
	}
	if m.GetGap() {
		st.line("mind", "fsagent dropped events of this server while the leg lived")
	}
	if us := m.GetHeldUs(); us > 0 {
		st.line("on hold", "%.3f s", float64(us)/1e6)
	}
	for v := range sample.Values(s) {
		name := v.Metric
		if d := sample.DirectionName(v.Direction); d != "" {
			name += "{" + d + "}"
		}
		if v.Whole {
			st.line("", "%-46s %d", name, v.Int)
		} else {
			st.line("", "%-46s %.6g", name, v.Float)
		}
	}
	for _, why := range []struct {
		what   string
		reason fsagentv1.Reason
	}{
		{"MOS", m.GetMosReason()}, {"jitter", m.GetJitterReason()}, {"packets", m.GetTotalReason()}, {"loss", m.GetPacketLossReason()},
	} {
		if why.reason != 0 {
			st.missing(why.what, why.reason)
		}
	}
	st.direction(s, "inbound", m.GetInbound())
	st.direction(s, "outbound", m.GetOutbound())
}

func (st *story) direction(s *fsagentv1.Sample, name string, d *fsagentv1.DirectionSummary) {
	st.text.WriteString("  " + name + "\n")
	st.line("reports", "%d", d.GetReports())
	for _, a := range d.GetArtefacts() {
		st.line("artefact", "%s x %d", sample.ArtefactName(a.GetArtefact()), a.GetCount())
	}
	if d.HasPacketsLost() {
		st.line("lost", "%d before the first report + %d in intervals = %d packets, of %d expected", d.GetPacketsLostBefore(),
			d.GetPacketsLost()-d.GetPacketsLostBefore(), d.GetPacketsLost(), d.GetPacketsExpected())
		st.line("not seen", "%.3f s from the last report to the end", float64(d.GetUnreportedUs())/1e6)
	}
	if d.HasMos() {
		st.rating(s.GetCodecName(), d.GetMosSource(), d.GetMosInputs(), d.GetMos())
	} else {
		st.missing("MOS", d.GetMosReason())
	}
	switch {
	case d.HasMosCq():
		st.conversation(d.GetMosSource(), d.GetMosInputs(), d.GetMosCq())
	case d.HasMos():
		st.missing("MOS-CQ", d.GetMosCqReason())
	}
	if why := d.GetBurstRatioReason(); why != 0 && d.GetReports() > 0 {
		st.missing("burst ratio", why)
	}
}
