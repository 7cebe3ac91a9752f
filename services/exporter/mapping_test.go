package exporter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
)

// fullReport has every field set, each to a value of its own.
func fullReport() fsagentv1.Sample_builder {
	return fsagentv1.Sample_builder{
		EventId: "core:1", TimeUs: epoch.Add(123456 * time.Microsecond).UnixMicro(),
		Direction:  fsagentv1.Direction_DIRECTION_INBOUND,
		FsInstance: "fs-1", ChannelId: "chan", CorrelationId: "corr", CallId: "call", DomainName: "example.com",
		CodecName: "PCMU", SrcIp: "192.0.2.1", DstIp: "192.0.2.2",
		Report: fsagentv1.Report_builder{
			JitterMs: new(1.5), PacketsLost: new(int64(2)), PacketsExpected: new(int64(250)),
			FractionLost: new(0.008), RoundTripTimeMs: new(41.25), Mos: new(4.1),
			MosSource: fsagentv1.MosSource_MOS_SOURCE_G107, PacketsLostTotal: 17,
		}.Build(),
	}
}

func fullLegEnd() fsagentv1.Sample_builder {
	direction := func(n float64) *fsagentv1.DirectionSummary {
		return fsagentv1.DirectionSummary_builder{
			Mos: new(3 + n/10), MosSource: fsagentv1.MosSource_MOS_SOURCE_G107_1,
			JitterMeanMs: new(n + 0.25), JitterMaxMs: new(n + 0.75),
			PacketsExpected: new(int64(1000 * n)), PacketsLost: new(int64(10 * n)),
			Packets: new(int64(900 * n)), Bytes: new(int64(154800 * n)), RoundTripTimeMs: new(20 * n), Reports: 7, CoveredUs: int64(10_000_000 * n),
		}.Build()
	}
	return fsagentv1.Sample_builder{
		EventId: "core:2", TimeUs: epoch.UnixMicro(),
		FsInstance: "fs-1", ChannelId: "chan", CorrelationId: "corr", CallId: "call", DomainName: "example.com",
		CodecName: "opus", SrcIp: "192.0.2.1", DstIp: "2001:db8::2",
		LegEnd: fsagentv1.LegEnd_builder{
			Mos: new(3.1), MosSource: fsagentv1.MosSource_MOS_SOURCE_G107_1,
			JitterAvgMs: new(1.75), JitterMinMs: new(0.5), JitterMaxMs: new(2.75),
			TotalPackets: new(int64(2700)), TotalBytes: new(int64(464400)), PacketLoss: new(int64(30)),
			Inbound: direction(1), Outbound: direction(2),
			AnsweredTimeUs: epoch.Add(-40 * time.Second).UnixMicro(), CreatedTimeUs: 1, HangupCause: "NORMAL_CLEARING",
		}.Build(),
	}
}

const (
	rep = `{call_id="call",channel_id="chan",correlation_id="corr",direction="inbound",domain_name="example.com",fs_instance="fs-1"`
	end = `{call_id="call",channel_id="chan",codec_name="opus",correlation_id="corr",`
	lab = `domain_name="example.com",dst_ip="2001:db8::2",fs_instance="fs-1"`
	src = `src_ip="192.0.2.1"}`
	res = `} {service.instance.id="fs-1",service.name="freeswitch"}` + "\n"
	rs2 = ` {service.instance.id="fs-1",service.name="freeswitch"}` + "\n"
	at0 = "2026-03-01T12:00:00.000000Z "
	at1 = "2026-03-01T12:00:00.123456Z "
)

func TestMapping(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config func(*exporter.Config)
		sample func() *fsagentv1.Sample
		want   string
	}{
		{name: "every field of a report", sample: func() *fsagentv1.Sample { return fullReport().Build() }, want: "" +
			at1 + "freeswitch.rtcp.fraction_lost 0.008 [gauge double 1] " + rep + res +
			at1 + "freeswitch.rtcp.jitter 1.5 [gauge double ms] " + rep + res +
			at1 + "freeswitch.rtcp.mos_score 4.1 [gauge double {score}] " + rep + `,mos_model="g107"` + res +
			at1 + "freeswitch.rtcp.packets_expected 250 [gauge int {packet}] " + rep + res +
			at1 + "freeswitch.rtcp.packets_lost 2 [gauge int {packet}] " + rep + res +
			at1 + "freeswitch.rtcp.round_trip_time 41.25 [gauge double ms] " + rep + res},
		{name: "packets lost as a cumulative sum", config: func(c *exporter.Config) { c.PacketsLost = exporter.LostCumulative },
			sample: func() *fsagentv1.Sample {
				s := fullReport()
				s.Report = fsagentv1.Report_builder{PacketsLost: new(int64(2)), PacketsLostTotal: 17}.Build()
				return s.Build()
			}, want: at1 + "freeswitch.rtcp.packets_lost 17 [cumulative monotonic sum int {packet}] " + rep + res},
		{name: "what was not measured and what is empty is not there", sample: func() *fsagentv1.Sample {
			return fsagentv1.Sample_builder{
				TimeUs: epoch.UnixMicro(), ChannelId: "chan", Direction: fsagentv1.Direction_DIRECTION_OUTBOUND,
				Report: fsagentv1.Report_builder{JitterMs: new(0.0), MosReason: fsagentv1.Reason_REASON_UNKNOWN_CODEC}.Build(),
			}.Build()
		}, want: at0 + `freeswitch.rtcp.jitter 0 [gauge double ms] {channel_id="chan",direction="outbound"} {service.name="freeswitch"}` + "\n"},
		{name: "video", sample: func() *fsagentv1.Sample {
			s := fullReport()
			s.Media = "video"
			s.Report = fsagentv1.Report_builder{PacketsLost: new(int64(0))}.Build()
			return s.Build()
		}, want: at1 + "freeswitch.rtcp.packets_lost 0 [gauge int {packet}] " + rep + `,media="video"` + res},
		{name: "a namespace", config: func(c *exporter.Config) { c.ServiceNamespace = "voice" }, sample: func() *fsagentv1.Sample {
			s := fullReport()
			s.Report = fsagentv1.Report_builder{JitterMs: new(1.5)}.Build()
			return s.Build()
		}, want: at1 + "freeswitch.rtcp.jitter 1.5 [gauge double ms] " + rep +
			`} {service.instance.id="fs-1",service.name="freeswitch",service.namespace="voice"}` + "\n"},
		{name: "zeros skipped", config: func(c *exporter.Config) { c.SkipZeroValues = true }, sample: func() *fsagentv1.Sample {
			s := fullReport()
			s.Report = fsagentv1.Report_builder{
				JitterMs: new(0.0), PacketsLost: new(int64(0)), PacketsExpected: new(int64(250)), FractionLost: new(0.0),
			}.Build()
			return s.Build()
		}, want: at1 + "freeswitch.rtcp.packets_expected 250 [gauge int {packet}] " + rep + res},
		{name: "the zero of a sum stays", config: func(c *exporter.Config) {
			c.SkipZeroValues, c.PacketsLost = true, exporter.LostCumulative
		}, sample: func() *fsagentv1.Sample {
			s := fullReport()
			s.Report = fsagentv1.Report_builder{JitterMs: new(0.0), PacketsLost: new(int64(0))}.Build()
			return s.Build()
		}, want: at1 + "freeswitch.rtcp.packets_lost 0 [cumulative monotonic sum int {packet}] " + rep + res},
		{name: "every field of the end of a leg", sample: func() *fsagentv1.Sample { return fullLegEnd().Build() },
			want: legEndText()},
		{name: "the end of a leg without RTCP", sample: func() *fsagentv1.Sample {
			s := fullLegEnd()
			s.LegEnd = fsagentv1.LegEnd_builder{
				Mos: new(4.5), MosSource: fsagentv1.MosSource_MOS_SOURCE_FREESWITCH, TotalPackets: new(int64(0)),
				Inbound: fsagentv1.DirectionSummary_builder{Reason: fsagentv1.Reason_REASON_NO_RTCP}.Build(),
			}.Build()
			return s.Build()
		}, want: at0 + "freeswitch.qos.mos_score 4.5 [gauge double {score}] " + end + lab + `,mos_source="freeswitch",` + src + rs2 +
			at0 + "freeswitch.qos.total_packets 0 [gauge int {packet}] " + end + lab + "," + src + rs2},
		{name: "fullband", sample: func() *fsagentv1.Sample {
			s := fullLegEnd()
			s.LegEnd = fsagentv1.LegEnd_builder{Mos: new(4.5), MosSource: fsagentv1.MosSource_MOS_SOURCE_G107_2}.Build()
			return s.Build()
		}, want: at0 + "freeswitch.qos.mos_score 4.5 [gauge double {score}] " + end + lab + `,mos_source="g107.2",` + src + rs2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if tt.config != nil {
				tt.config(&r.cfg)
			}
			e := r.start()
			r.publish(0, tt.sample())
			r.settledAfter(1, e)
			e.stop()
			if got := otlptest.Text(r.sink.Points()); got != tt.want {
				t.Errorf("points:\ngot\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// legEndText is what fullLegEnd becomes.
func legEndText() string {
	var b strings.Builder
	line := func(metric, direction, source string) {
		b.WriteString(at0 + metric + " " + end)
		if direction != "" {
			b.WriteString(`direction="` + direction + `",`)
		}
		b.WriteString(lab + source + "," + src + rs2)
	}
	both := func(metric, in, out, kind, source string) {
		line(metric+" "+in+" "+kind, "inbound", source)
		line(metric+" "+out+" "+kind, "outbound", source)
	}
	const ms, packets, model = "[gauge double ms]", "[gauge int {packet}]", `,mos_source="g107.1"`
	both("freeswitch.leg.bytes", "154800", "309600", "[gauge int By]", "")
	both("freeswitch.leg.coverage", "0.25", "0.5", "[gauge double 1]", "")
	both("freeswitch.leg.jitter", "1.25", "2.25", ms, "")
	both("freeswitch.leg.jitter_max", "1.75", "2.75", ms, "")
	both("freeswitch.leg.mos", "3.1", "3.2", "[gauge double {score}]", model)
	both("freeswitch.leg.packets", "900", "1800", packets, "")
	both("freeswitch.leg.packets_lost", "10", "20", packets, "")
	both("freeswitch.leg.rtt", "20", "40", ms, "")
	line("freeswitch.qos.jitter_avg 1.75 "+ms, "", "")
	line("freeswitch.qos.jitter_max 2.75 "+ms, "", "")
	line("freeswitch.qos.jitter_min 0.5 "+ms, "", "")
	line("freeswitch.qos.mos_score 3.1 [gauge double {score}]", "", model)
	line("freeswitch.qos.packet_loss 30 "+packets, "", "")
	line("freeswitch.qos.total_bytes 464400 [gauge int By]", "", "")
	line("freeswitch.qos.total_packets 2700 "+packets, "", "")
	return b.String()
}

// TestEveryMetricIsInTheTable: what samples have is what is sent.
func TestEveryMetricIsInTheTable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := map[string]bool{}
	for n, s := range []*fsagentv1.Sample{fullReport().Build(), fullLegEnd().Build()} {
		for v := range sample.Values(s) {
			want[v.Metric] = true
		}
		r.publish(n, s)
	}
	e := r.start()
	r.settledAfter(2, e)
	for _, p := range r.sink.Points() {
		delete(want, p.Metric)
	}
	if len(want) > 0 {
		t.Errorf("not sent: %v", want)
	}
}
