package explain

import (
	"fmt"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/rtcp"
	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// facts are the headers of a channel event that the step reads, in the order in
// which they are told.
var facts = [...][2]string{
	{"direction", "Call-Direction"}, {"call id", "variable_sip_call_id"}, {"originator", "variable_originator"},
	{"codec", "variable_rtp_use_codec_name"}, {"clock", "variable_rtp_use_codec_rate"}, {"packet time", "variable_rtp_use_codec_ptime"},
	{"read codec", "Channel-Read-Codec-Name"}, {"write codec", "Channel-Write-Codec-Name"},
	{"our SSRC", "variable_rtp_use_ssrc"}, {"peer", "variable_remote_media_ip"}, {"cause", "Hangup-Cause"},
}

// counters of FreeSWITCH at the end of a leg.
var counters = [...]string{
	"in_packet_count", "in_raw_bytes", "in_skip_packet_count", "in_flush_packet_count", "in_mos",
	"out_packet_count", "out_raw_bytes", "rtcp_packet_count",
}

// tell adds one event and what came of it.
func (st *story) tell(s leg.Step) {
	id := s.Event.ID()
	at := time.Duration(id.TimeUS-st.firstUS) * time.Microsecond
	fmt.Fprintf(&st.text, "%+10.3f s %s #%d\n", at.Seconds(), id.Name, id.Sequence)
	switch {
	case s.Outcome != leg.Applied:
		st.line("refused", "%s: %s", s.Outcome, refusals[s.Outcome])
	case s.Report != nil:
		st.report(s)
	case len(id.UniqueID) == 0:
		st.line("concluded", "the leg has ended, its own end was not seen")
	default:
		st.channel(s.Event)
	}
	if m := s.Sample.GetLegEnd(); m != nil {
		st.end(s.Sample, m)
	}
}

func (st *story) channel(e event.Event) {
	for _, f := range facts {
		st.news("", f[0], e.Text(f[1]))
	}
	for _, name := range counters {
		if v := e.Text("variable_rtp_audio_" + name); v != "" {
			st.line("counted", "%s %s", name, v)
		}
	}
}

// report tells a report, raw and then what it means.
func (st *story) report(s leg.Step) {
	r, iv := *s.Report, *s.Interval
	if r.Direction == rtcp.Inbound {
		st.line("about", "inbound: what FreeSWITCH receives from the peer")
	} else {
		st.line("about", "outbound: what the peer receives from FreeSWITCH")
	}
	if r.HasBlock {
		st.line("raw", "SSRC %08x, highest %d, lost %d, fraction %d/256, jitter %d, LSR %d, DLSR %d", r.SSRC, r.Highest, r.Lost, r.Fraction, r.Jitter, r.LSR, r.DLSR)
	}
	m := s.Sample.GetReport()
	if m.HasJitterMs() {
		st.line("jitter", "%d x 1000 / %d Hz = %.3f ms", r.Jitter, s.Clock, m.GetJitterMs())
	} else if iv.Counted && s.Clock == 0 {
		st.line("jitter", "none: the RTP clock is not known")
	}
	if m.HasRoundTripTimeMs() {
		st.line("round trip", "%.3f ms, as FreeSWITCH smoothed it", m.GetRoundTripTimeMs())
	}
	if iv.Known {
		st.interval(s, r, iv)
	}
	if iv.NoMediaUS > 0 {
		st.line("no media", "%.3f s of the %.3f s since the report before", float64(iv.NoMediaUS)/1e6, float64(max(s.Event.ID().TimeUS-s.Before.LastUS, 0))/1e6)
	}
	for n := range iv.Artefacts.Numbers() {
		a := fsagentv1.Artefact(n)
		st.line("artefact", "%s: %s", sample.ArtefactName(a), artefacts[a])
	}
	switch {
	case m == nil:
		st.line("concluded", "nothing: no number is made of this report")
	case m.HasMos():
		st.quality(s)
	default:
		st.missing("MOS", m.GetMosReason())
	}
}

func (st *story) interval(s leg.Step, r rtcp.Report, iv rtcp.Interval) {
	st.line("interval", "%.3f s", float64(iv.LengthUS)/1e6)
	st.line("expected", "%d - %d = %d packets", r.Highest, s.Before.Highest, iv.Expected)
	if iv.Flushed > 0 {
		st.line("flushed", "%d - %d = %d packets, set aside until FreeSWITCH says how many it flushed", r.Lost, s.Before.Lost, iv.Flushed)
	}
	if d := int64(r.Lost) - int64(s.Before.Lost); d == iv.Lost {
		st.line("lost", "%d - %d = %d packets", r.Lost, s.Before.Lost, iv.Lost)
	} else {
		st.line("lost", "%d - %d = %d, counted as %d packets", r.Lost, s.Before.Lost, d, iv.Lost)
	}
	st.line("loss", "%d / %d = %.3f %%", iv.Lost, iv.Expected, 100*float64(iv.Lost)/float64(iv.Expected))
}

// missing says why a number is not there.
func (st *story) missing(what string, why fsagentv1.Reason) {
	st.line(what, "none: %s: %s", sample.ReasonName(why), reasons[why])
}
