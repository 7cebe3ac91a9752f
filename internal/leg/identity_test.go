package leg_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
)

// TestBridgedLabels: the labels of both legs of the bridged call 02.
func TestBridgedLabels(t *testing.T) {
	t.Parallel()
	samples, _ := run(t, events(t, "02-bridged-pcmu"))
	const a, b = "ff63b5fa-955b-4c2f-a6fc-23010ebc8a97", "aca34938-17da-43e2-92a6-708c49bdbb4b"
	sipCallID := map[string]string{a: "c4bfe4be-61cb-1240-c59b-a69685210d20", b: "c4c06ba8-61cb-1240-2db1-a69685210d20"}
	for _, s := range samples {
		if s.GetCallId() != a || s.GetDomainName() != "127.0.0.1" || s.GetFsInstance() != "pbx" || s.GetCorrelationId() != sipCallID[s.GetChannelId()] {
			t.Fatalf("labels of %v", s)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	type labels struct{ correlation, call, domain, codec, src, dst string }
	for _, tt := range []struct {
		name   string
		events [][]string // headers of CREATE, then of HANGUP_COMPLETE
		byCall bool
		want   labels
	}{
		{"nothing known", [][]string{{}, {}}, false, labels{call: "u1"}},
		{
			"inbound", [][]string{{"Call-Direction: inbound", "variable_sip_call_id: a%40b", "variable_sip_to_host: to", "variable_sip_from_host: from",
				"variable_remote_media_ip: 192.0.2.1"}, {"variable_local_media_ip: 192.0.2.2", "variable_rtp_use_codec_name: PCMA"}},
			false, labels{"a@b", "u1", "from", "PCMA", "192.0.2.1", "192.0.2.2"},
		},
		{
			"outbound", [][]string{{"Call-Direction: outbound", "Other-Leg-Unique-ID: a1", "variable_local_media_ip: 192.0.2.2"},
				{"variable_sip_call_id: late", "variable_remote_media_ip: 192.0.2.1", "Other-Leg-Unique-ID: other"}},
			false, labels{"late", "a1", "", "", "192.0.2.2", "192.0.2.1"},
		},
		{
			"originator is better than the other leg", [][]string{{"Call-Direction: outbound", "Other-Leg-Unique-ID: a1", "variable_originator: a2"},
				{"variable_originator: a3"}}, false, labels{call: "a2"},
		},
		{
			"other leg of an inbound leg is not the call", [][]string{{"Call-Direction: inbound"}, {"Other-Leg-Unique-ID: b1"}},
			false, labels{call: "u1"},
		},
		{
			"directory domain is best", [][]string{{"variable_sip_from_host: from"}, {"variable_domain_name: example.org", "variable_sip_to_host: to"}},
			false, labels{call: "u1", domain: "example.org"},
		},
		{
			"behind a NAT", [][]string{{"Call-Direction: inbound", "variable_remote_media_ip: 10.0.0.1"}, {"variable_remote_audio_ip: 198.51.100.7", "variable_remote_media_ip: 10.0.0.1"}},
			false, labels{call: "u1", src: "198.51.100.7"},
		},
		{
			"correlation by call", [][]string{{"Call-Direction: outbound", "variable_originating_leg_uuid: a1", "variable_sip_call_id: sip"}, {}},
			true, labels{correlation: "a1", call: "a1"},
		},
		{
			"codec without variables", [][]string{{"Channel-Read-Codec-Name: PCMU"}, {}}, false, labels{call: "u1", codec: "PCMU"},
		},
		{
			"L16 is inside", [][]string{{"Channel-Read-Codec-Name: L16"}, {"Channel-Read-Codec-Name: L16"}}, false, labels{call: "u1"},
		},
		{
			"undefined values", [][]string{{"variable_sip_call_id: _undef_", "variable_domain_name: "}, {}}, false, labels{call: "u1"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStepper(t, func(p *leg.Params) { p.CorrelationByCall = tt.byCall })
			s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0, tt.events[0]...))
			s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 2, 10, tt.events[1]...))
			m := s.last()
			got := labels{m.GetCorrelationId(), m.GetCallId(), m.GetDomainName(), m.GetCodecName(), m.GetSrcIp(), m.GetDstIp()}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestCodecChange: after a CODEC event jitter is in the new clock, and the MOS
// is that of the new codec.
func TestCodecChange(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_ANSWER", "u1", 1, 0, "variable_rtp_use_codec_name: PCMU", "variable_rtp_use_codec_rate: 8000"))
	s.apply(leg.Applied, send("u1", 2, 4, 1000, 1))
	s.apply(leg.Applied, send("u1", 3, 8, 1200, 1))
	if m := s.last().GetReport(); m.GetJitterMs() != 20 || m.GetMosSource() != fsagentv1.MosSource_MOS_SOURCE_G107 {
		t.Errorf("PCMU: got %v", m)
	}
	s.apply(leg.Applied, made("CODEC", "u1", 4, 9, "Channel-Read-Codec-Name: opus", "Channel-Read-Codec-Rate: 16000", "Channel-Write-Codec-Name: opus"))
	s.apply(leg.Applied, send("u1", 5, 12, 1400, 1))
	if m := s.last().GetReport(); m.GetJitterMs() != 3.333333 || m.GetMosReason() != fsagentv1.Reason_REASON_UNKNOWN_CODEC {
		t.Errorf("Opus: got %v", m)
	}
}

// TestMedia: video and text reports are told from audio and do not mix with it.
func TestMedia(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, recv("u1", 1, 0, 1000, 0))
	s.apply(leg.Applied, made("RECV_RTCP_MESSAGE", "u1", 2, 1, "RTP-Rate: 90000", "Source0-SSRC: 0c", "Source0-Lost: 3",
		"Source0-Highest-Sequence-Number-Received: 9", "Source0-Jitter: 900"))
	if m := s.last(); m.GetMedia() != "video" || m.GetReport().GetJitterMs() != 10 {
		t.Errorf("video: got %v", m)
	}
	s.apply(leg.Applied, made("RECV_RTCP_MESSAGE", "u1", 3, 1, "RTP-Rate: 0", "Source0-SSRC: 0d", "Source0-Lost: 0",
		"Source0-Highest-Sequence-Number-Received: 9", "Source0-Jitter: 1"))
	if m := s.last(); m.GetMedia() != "text" || m.GetReport().HasJitterMs() {
		t.Errorf("text: got %v", m)
	}
	s.apply(leg.Applied, recv("u1", 4, 5, 1250, 0))
	if m := s.last(); m.GetMedia() != "" || m.GetReport().GetPacketsExpected() != 250 || m.GetReport().GetRoundTripTimeMs() != 40 {
		t.Errorf("audio: got %v", m)
	}
}

// TestHostileText: no value of a header can make a sample that cannot be
// encoded, or one without bounds.
func TestHostileText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("%C3%BC", 100_000)
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u%FF%00", 1, 0, "variable_sip_call_id: %80%FE", "variable_domain_name: "+long, "Call-Direction: inbound"))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u%FF%00", 2, 0, "Hangup-Cause: %FF", "variable_rtp_audio_in_packet_count: 99999999999999999999"))
	m := s.last()
	encode(t, s.samples)
	if len(m.GetDomainName()) > 255 || !utf8.ValidString(m.GetDomainName()) || m.GetChannelId() != "u\uFFFD\x00" {
		t.Errorf("got domain of %d bytes, channel %q", len(m.GetDomainName()), m.GetChannelId())
	}
	for _, c := range s.table.Changes() {
		if len(c.State) > 2000 {
			t.Errorf("state of %d bytes", len(c.State))
		}
	}
}
