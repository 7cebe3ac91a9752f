package leg_test

import (
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
)

var rtp = []string{
	"Caller-Channel-Answered-Time: 1795429772000000", "variable_rtp_use_codec_name: PCMU", "variable_rtp_use_codec_rate: 8000",
	"variable_rtp_audio_in_packet_count: 500", "variable_rtp_audio_out_packet_count: 510",
	"variable_rtp_audio_in_raw_bytes: 86000", "variable_rtp_audio_out_raw_bytes: 87720", "variable_rtp_audio_in_mos: 4.50",
}

// endOf runs a leg with these events between CREATE and HANGUP_COMPLETE.
func endOf(t *testing.T, last []string, between ...[]byte) *fsagentv1.LegEnd {
	t.Helper()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0))
	s.apply(leg.Applied, made("CHANNEL_ANSWER", "u1", 2, 0, "variable_rtp_use_codec_name: PCMU", "variable_rtp_use_codec_rate: 8000"))
	for _, raw := range between {
		s.apply(leg.Applied, raw)
	}
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 1000, 60, last...))
	return s.last().GetLegEnd()
}

func TestEndWithReports(t *testing.T) {
	t.Parallel()
	m := endOf(t, rtp,
		send("u1", 10, 4, 1000, 1), recv("u1", 11, 4, 2000, 3),
		send("u1", 12, 8, 1200, 11), recv("u1", 13, 8, 2200, 3))
	// 10 of 200 lost is 5 %.
	if m.GetMos() != 3.923091 || m.GetInbound().GetMos() != 3.923091 || m.GetOutbound().GetMos() != 4.409406 {
		t.Errorf("MOS %v, inbound %v, outbound %v, want the worse", m.GetMos(), m.GetInbound().GetMos(), m.GetOutbound().GetMos())
	}
	if m.GetJitterAvgMs() != 15 || m.GetJitterMinMs() != 10 || m.GetJitterMaxMs() != 20 {
		t.Errorf("jitter %v, %v, %v, want 15, 10, 20", m.GetJitterAvgMs(), m.GetJitterMinMs(), m.GetJitterMaxMs())
	}
	if m.GetTotalPackets() != 1010 || m.GetTotalBytes() != 173720 || m.GetPacketLoss() != 13 {
		t.Errorf("%d packets, %d bytes, %d lost, want 1010, 173720, 13", m.GetTotalPackets(), m.GetTotalBytes(), m.GetPacketLoss())
	}
	out := m.GetOutbound()
	if out.GetPacketsLost() != 3 || out.GetPacketsLostBefore() != 3 || out.GetPacketsExpected() != 200 || out.GetRoundTripTimeMs() != 40 {
		t.Errorf("outbound %v", out)
	}
}

// TestQualityOfLegDoesNotDependOnBatching: more reports of the same loss give
// the same MOS.
func TestQualityOfLegDoesNotDependOnBatching(t *testing.T) {
	t.Parallel()
	few := endOf(t, rtp, send("u1", 10, 4, 1000, 1), send("u1", 20, 44, 3000, 101))
	many := [][]byte{send("u1", 10, 4, 1000, 1)}
	for i := 1; i <= 10; i++ {
		many = append(many, send("u1", 10+i, 4+4*i, 1000+200*i, 1+i*i))
	}
	if got := endOf(t, rtp, many...); got.GetMos() != few.GetMos() || got.GetPacketLoss() != few.GetPacketLoss() {
		t.Errorf("got MOS %v and %d lost in ten reports, %v and %d in one", got.GetMos(), got.GetPacketLoss(), few.GetMos(), few.GetPacketLoss())
	}
}

func TestEndReasons(t *testing.T) {
	t.Parallel()
	failed := []string{"Caller-Channel-Answered-Time: 0", "Hangup-Cause: USER_BUSY"}
	prepared := []string{
		"Caller-Channel-Answered-Time: 0", "variable_rtp_audio_in_packet_count: 0", "variable_rtp_audio_out_packet_count: 0",
		"variable_rtp_audio_in_raw_bytes: 0", "variable_rtp_audio_out_raw_bytes: 0", "variable_rtp_audio_in_mos: 4.50",
	}
	silent := []string{
		"Caller-Channel-Answered-Time: 1795429772000000", "variable_rtp_audio_in_packet_count: 0", "variable_rtp_audio_out_packet_count: 10",
		"variable_rtp_audio_in_raw_bytes: 0", "variable_rtp_audio_out_raw_bytes: 1720", "variable_rtp_audio_in_mos: 4.50",
	}
	const none = fsagentv1.Reason_REASON_UNSPECIFIED
	for _, tt := range []struct {
		name                    string
		last                    []string
		between                 [][]byte
		mos, jitter, total, los fsagentv1.Reason
		source                  fsagentv1.MosSource
	}{
		{"failed", failed, nil, fsagentv1.Reason_REASON_NO_MEDIA, fsagentv1.Reason_REASON_NO_MEDIA, fsagentv1.Reason_REASON_NO_MEDIA, fsagentv1.Reason_REASON_NO_MEDIA, 0},
		{"failed with a session", prepared, nil, fsagentv1.Reason_REASON_NO_MEDIA, fsagentv1.Reason_REASON_NO_MEDIA, fsagentv1.Reason_REASON_NO_MEDIA, fsagentv1.Reason_REASON_NO_MEDIA, 0},
		{"no RTCP", rtp, nil, none, fsagentv1.Reason_REASON_NO_RTCP, none, fsagentv1.Reason_REASON_NO_RTCP, fsagentv1.MosSource_MOS_SOURCE_FREESWITCH},
		{"no RTCP, nothing received", silent, nil, fsagentv1.Reason_REASON_NO_RTCP, fsagentv1.Reason_REASON_NO_RTCP, none, fsagentv1.Reason_REASON_NO_RTCP, 0},
		{"one report", rtp, [][]byte{send("u1", 10, 4, 1000, 1)}, fsagentv1.Reason_REASON_TOO_SHORT, none, none, fsagentv1.Reason_REASON_NO_RTCP, 0},
		{"one direction", rtp, [][]byte{recv("u1", 10, 4, 1000, 1), recv("u1", 11, 9, 1250, 1)}, none, none, none, fsagentv1.Reason_REASON_NO_SEND_EVENTS, fsagentv1.MosSource_MOS_SOURCE_G107},
		{"both", rtp, [][]byte{recv("u1", 10, 4, 1000, 1), recv("u1", 11, 9, 1250, 1), send("u1", 12, 9, 1250, 1)}, none, none, none, none, fsagentv1.MosSource_MOS_SOURCE_G107},
		{"silent throughout", rtp, [][]byte{send("u1", 10, 4, 1000, 1), send("u1", 11, 9, 1000, 1)}, fsagentv1.Reason_REASON_TOO_SHORT, none, none, fsagentv1.Reason_REASON_NO_RTCP, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := endOf(t, tt.last, tt.between...)
			if m.GetMosReason() != tt.mos || m.GetJitterReason() != tt.jitter || m.GetTotalReason() != tt.total || m.GetPacketLossReason() != tt.los {
				t.Errorf("reasons: got %v, %v, %v, %v", m.GetMosReason(), m.GetJitterReason(), m.GetTotalReason(), m.GetPacketLossReason())
			}
			if m.HasMos() != (tt.mos == none) || m.HasJitterAvgMs() != (tt.jitter == none) || m.HasTotalPackets() != (tt.total == none) {
				t.Errorf("a value without its reason, or the other way round: %v", m)
			}
			if m.GetMosSource() != tt.source {
				t.Errorf("got source %v, want %v", m.GetMosSource(), tt.source)
			}
		})
	}
}
