package exporter

import (
	"testing"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// TestEncoderAgreesWithLibrary sends the same samples once as our encoder writes
// them and once through the library's own types.
func TestEncoderAgreesWithLibrary(t *testing.T) {
	t.Parallel()
	for _, cumulative := range []bool{false, true} {
		var items []item
		for n := range 50 {
			s := report(n)
			if n%7 == 0 {
				s = legEndSample(n)
			}
			if n%3 == 0 {
				s.SetDomainName("")
			}
			items = append(items, item{sample: s, values: measurer{cumulative: cumulative}.measure(nil, s)})
		}
		cfg := DefaultConfig()
		cfg.ServiceNamespace = "voice"
		ours, c := sinkAndClient(t, cfg)
		e := encoder{namespace: "voice", cumulative: cumulative}
		data, points := e.request("fs-1", items)
		if v := c.export(t.Context(), data); v.action != accept {
			t.Fatal(v.err)
		}
		theirs, _ := sinkAndClient(t, cfg)
		exportByLibrary(t, theirs.Addr(), cumulative, items)
		got, want := ours.Points(), theirs.Points()
		if len(got) != points || otlptest.Text(got) != otlptest.Text(want) {
			t.Errorf("cumulative %v: encoder said %d points, sent\n%s\nlibrary sent\n%s", cumulative, points, otlptest.Text(got), otlptest.Text(want))
		}
		if got[0].Scope != want[0].Scope {
			t.Errorf("scope: got %q, want %q", got[0].Scope, want[0].Scope)
		}
	}
}

func sinkAndClient(t testing.TB, cfg Config) (*otlptest.Receiver, *client) {
	t.Helper()
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	cfg.Endpoint, cfg.Insecure = sink.Addr(), new(true)
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close(t.Context()) })
	return sink, c
}

func exportByLibrary(t *testing.T, addr string, cumulative bool, items []item) {
	t.Helper()
	x, err := otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithEndpoint(addr), otlpmetricgrpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	b := builder{cumulative: cumulative}
	metrics, _ := b.build(items)
	err = x.Export(t.Context(), &metricdata.ResourceMetrics{
		Resource: resource.NewSchemaless(attribute.String("service.name", "freeswitch"),
			attribute.String("service.instance.id", "fs-1"), attribute.String("service.namespace", "voice")),
		ScopeMetrics: []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scopeName}, Metrics: metrics}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func attributes(pairs []label) attribute.Set {
	kvs := make([]attribute.KeyValue, 0, len(pairs))
	for _, p := range pairs {
		kvs = append(kvs, attribute.String(p.key, p.value))
	}
	return attribute.NewSet(kvs...)
}

func legEndSample(n int) *fsagentv1.Sample {
	side := fsagentv1.DirectionSummary_builder{
		Mos: new(3.5), MosSource: fsagentv1.MosSource_MOS_SOURCE_G107_1, JitterMeanMs: new(float64(n)),
		Packets: new(int64(-1)), Bytes: new(int64(1) << 62), RoundTripTimeMs: new(0.0),
	}.Build()
	return fsagentv1.Sample_builder{
		TimeUs: 1772366400000000 + int64(n), FsInstance: "fs-1", ChannelId: "c", CodecName: "opus", SrcIp: "192.0.2.1",
		DstIp: "192.0.2.2", LegEnd: fsagentv1.LegEnd_builder{
			Mos: new(3.5), MosSource: fsagentv1.MosSource_MOS_SOURCE_FREESWITCH, TotalBytes: new(int64(5)), Inbound: side, Outbound: side,
		}.Build(),
	}.Build()
}

// builder makes the points of items in the types of the OpenTelemetry library:
// slower than encoder, written differently, and therefore its oracle.
type builder struct {
	cumulative bool
	labels     labels
	doubles    [metricCount][]metricdata.DataPoint[float64]
	integers   [metricCount][]metricdata.DataPoint[int64]
}

// build returns the metrics of items and the number of points in them.
func (b *builder) build(items []item) (out []metricdata.Metrics, points int) {
	for id := range metricCount {
		b.doubles[id], b.integers[id] = b.doubles[id][:0], b.integers[id][:0]
	}
	for _, it := range items {
		b.add(it)
		points += len(it.values)
	}
	for id := range metricCount {
		if data := b.data(id); data != nil {
			m := metrics[id]
			out = append(out, metricdata.Metrics{Name: m.name, Unit: m.unit, Description: m.description, Data: data})
		}
	}
	return out, points
}

func (b *builder) add(it item) {
	b.labels.of(it.sample)
	at := time.UnixMicro(it.sample.GetTimeUs())
	var set attribute.Set
	for i, v := range it.values {
		if i == 0 || v.direction != it.values[i-1].direction || v.source != it.values[i-1].source {
			set = attributes(b.labels.with(v.direction, v.source))
		}
		if metrics[v.metric].integer {
			b.integers[v.metric] = append(b.integers[v.metric], metricdata.DataPoint[int64]{Attributes: set, Time: at, Value: v.integer})
		} else {
			b.doubles[v.metric] = append(b.doubles[v.metric], metricdata.DataPoint[float64]{Attributes: set, Time: at, Value: v.double})
		}
	}
}

func (b *builder) data(id metricID) metricdata.Aggregation {
	switch {
	case len(b.doubles[id]) > 0:
		return metricdata.Gauge[float64]{DataPoints: b.doubles[id]}
	case len(b.integers[id]) == 0:
		return nil
	case id == rtcpPacketsLost && b.cumulative:
		return metricdata.Sum[int64]{DataPoints: b.integers[id], Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	}
	return metricdata.Gauge[int64]{DataPoints: b.integers[id]}
}
