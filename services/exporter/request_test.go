package exporter

import (
	"fmt"
	"strings"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"context"
	"sync/atomic"
)

// report number n of a hundred legs, as the calculators make them.
func report(n int) *fsagentv1.Sample {
	leg := n % 100
	return fsagentv1.Sample_builder{
		EventId: fmt.Sprintf("5f1c2d3e-0000-4000-8000-000000000000:%d", n), TimeUs: 1772366400000000 + int64(n)*1000,
		Direction: fsagentv1.Direction_DIRECTION_INBOUND, FsInstance: "fs-1",
		ChannelId:     fmt.Sprintf("5f1c2d3e-%04d-4000-8000-123456789abc", leg),
		CorrelationId: fmt.Sprintf("%032d@192.0.2.10", leg),
		CallId:        fmt.Sprintf("5f1c2d3e-%04d-4000-8000-abcdefabcdef", leg), DomainName: "example.com",
		CodecName: "PCMU", SrcIp: "192.0.2.1", DstIp: "192.0.2.2",
		Report: fsagentv1.Report_builder{
			JitterMs: new(1.5), PacketsLost: new(int64(2)), PacketsExpected: new(int64(250)),
			FractionLost: new(0.008), RoundTripTimeMs: new(41.25), Mos: new(4.1),
			MosSource: fsagentv1.MosSource_MOS_SOURCE_G107, PacketsLostTotal: 17,
		}.Build(),
	}.Build()
}

// wire counts the bytes of the requests that arrive.
type wire struct{ bytes atomic.Int64 }

func (w *wire) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (w *wire) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (w *wire) HandleConn(context.Context, stats.ConnStats)                       {}
func (w *wire) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		w.bytes.Add(int64(in.Length))
	}
}

func TestSizeIsAnUpperBound(t *testing.T) {
	t.Parallel()
	long := report(0)
	long.SetChannelId(strings.Repeat("x", 70_000))
	long.SetDomainName(strings.Repeat("y", 120))
	end := fsagentv1.Sample_builder{
		TimeUs: 1, FsInstance: "fs-1", ChannelId: "c", CodecName: "opus", SrcIp: "192.0.2.1", DstIp: "192.0.2.2",
		LegEnd: fsagentv1.LegEnd_builder{
			Mos: new(4.0), MosSource: fsagentv1.MosSource_MOS_SOURCE_FREESWITCH, TotalBytes: new(int64(-1)),
			Inbound: fsagentv1.DirectionSummary_builder{Mos: new(4.0), MosSource: fsagentv1.MosSource_MOS_SOURCE_FREESWITCH, Bytes: new(int64(-1))}.Build(),
		}.Build(),
	}.Build()
	for _, tt := range []struct {
		name    string
		samples []*fsagentv1.Sample
	}{
		{"reports", []*fsagentv1.Sample{report(0), report(1), report(2), report(3), report(4), report(5), report(6), report(7), report(8), report(9)}},
		{"long labels", []*fsagentv1.Sample{long, long, long}},
		{"ends", []*fsagentv1.Sample{end, end, end, end, end, end, end, end, end, end, end, end, end, end, end, end, end}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &wire{}
			sink, err := otlptest.Start("127.0.0.1:0", grpc.StatsHandler(w), grpc.MaxRecvMsgSize(64<<20))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(sink.Close)
			cfg := DefaultConfig()
			cfg.Endpoint, cfg.Insecure = sink.Addr(), new(true)
			c, err := newClient(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var (
				items []item
				size  int
				l     labels
				e     encoder
			)
			for _, s := range tt.samples {
				values := measurer{}.measure(nil, s)
				l.of(s)
				items = append(items, item{sample: s, values: values})
				size += len(values) * (l.size() + pointSize)
			}
			data, _ := e.request("fs-1", items)
			if v := c.export(t.Context(), data); v.action != accept {
				t.Fatal(v.err)
			}
			const frame = 1000 // resource, scope, names and descriptions of metrics
			if got := int(w.bytes.Load()); got > size+frame || float64(size) > 1.4*float64(got) {
				t.Errorf("on the wire: %d, estimated %d", got, size)
			}
			if err := c.close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	one, err := proto.Marshal(fsagentv1.SampleBatch_builder{Samples: []*fsagentv1.Sample{report(1), report(2)}}.Build())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Add(one[:len(one)-5])
	f.Add(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "\x22\x01\xff"))
	f.Add([]byte("hello world"))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, _, err := decode(data)
		if err != nil && samples != nil {
			t.Errorf("samples and an error: %v", err)
		}
		for _, s := range samples {
			if _, err := proto.Marshal(s); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
			measurer{}.measure(nil, s)
		}
	})
}
