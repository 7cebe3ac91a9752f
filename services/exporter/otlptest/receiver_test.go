package otlptest_test

import (
	"context"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/exporter/otlptest"
	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func start(t *testing.T) (*otlptest.Receiver, colmetricpb.MetricsServiceClient) {
	t.Helper()
	r, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	conn, err := grpc.NewClient(r.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return r, colmetricpb.NewMetricsServiceClient(conn)
}

func label(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// request has a gauge point of value v and a point of a cumulative sum.
func request(v float64) *colmetricpb.ExportMetricsServiceRequest {
	gauge := &metricspb.NumberDataPoint{
		Attributes:   []*commonpb.KeyValue{label("b", "2"), label("a", "1")},
		TimeUnixNano: uint64(2 * time.Second), Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v},
	}
	sum := &metricspb.NumberDataPoint{
		StartTimeUnixNano: uint64(time.Second), TimeUnixNano: uint64(2 * time.Second),
		Value: &metricspb.NumberDataPoint_AsInt{AsInt: 7},
	}
	return &colmetricpb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{label("service.name", "x")}},
		ScopeMetrics: []*metricspb.ScopeMetrics{{
			Scope: &commonpb.InstrumentationScope{Name: "scope"},
			Metrics: []*metricspb.Metric{
				{Name: "n", Unit: "By", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{
					AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
					IsMonotonic:            true, DataPoints: []*metricspb.NumberDataPoint{sum},
				}}},
				{Name: "g", Unit: "ms", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{gauge}}}},
			},
		}},
	}}}
}

func TestText(t *testing.T) {
	t.Parallel()
	r, client := start(t)
	var live []string
	r.OnPoint(func(p otlptest.Point) { live = append(live, p.Metric) })
	if _, err := client.Export(t.Context(), request(1.5)); err != nil {
		t.Fatal(err)
	}
	want := `1970-01-01T00:00:02.000000Z g 1.5 [gauge double ms] {a="1",b="2"} {service.name="x"}
1970-01-01T00:00:02.000000Z n 7 [cumulative monotonic sum int By] since 1970-01-01T00:00:01.000000Z {} {service.name="x"}
`
	if got := otlptest.Text(r.Points()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if len(live) != 2 {
		t.Errorf("live: got %v, want 2 points", live)
	}
}

func TestUniqueAndConflicts(t *testing.T) {
	t.Parallel()
	r, client := start(t)
	for _, v := range []float64{1, 1, 2} {
		if _, err := client.Export(t.Context(), request(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WaitUnique(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	points := r.Points()
	if got := len(otlptest.Unique(points)); got != 2 {
		t.Errorf("unique: got %d, want 2", got)
	}
	if got := otlptest.Conflicts(points); len(got) != 1 || got[0].Value != 2 {
		t.Errorf("conflicts: got %v, want the one of value 2", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault otlptest.Fault
		code  codes.Code
		kept  int
	}{
		{"refuse", otlptest.Refuse(codes.Unavailable, ""), codes.Unavailable, 0},
		{"refuse for a while", otlptest.RefuseFor(codes.ResourceExhausted, time.Second), codes.ResourceExhausted, 0},
		{"partial", otlptest.Partial(1, "one"), codes.OK, 1},
		{"partial, more than there is", otlptest.Partial(9, "nine"), codes.OK, 0},
		{"store, then fail", otlptest.StoreThenFail(codes.Aborted), codes.Aborted, 2},
		{"hang", otlptest.Hang(), codes.DeadlineExceeded, 0},
		{"too large", otlptest.TooLarge(1), codes.ResourceExhausted, 0},
		{"not too large", otlptest.TooLarge(2), codes.OK, 2},
		{"poison", otlptest.Poison(codes.Internal, func(p otlptest.Point) bool { return p.Metric == "g" }), codes.Internal, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, client := start(t)
			r.Script(tt.fault)
			limit := 2 * time.Minute
			if tt.code == codes.DeadlineExceeded {
				limit = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := client.Export(ctx, request(1), grpc.WaitForReady(true))
			if got := status.Code(err); got != tt.code {
				t.Errorf("code: got %v, want %v", got, tt.code)
			}
			if got := len(r.Points()); got != tt.kept {
				t.Errorf("kept: got %d, want %d", got, tt.kept)
			}
			r.Heal()
			if _, err := client.Export(t.Context(), request(1)); err != nil {
				t.Errorf("after Heal: %v", err)
			}
			r.Always(tt.fault)
			r.Close()
		})
	}
}

// The server's clock may reach the client's deadline first.
func TestHangEndsAsTheClientExpects(t *testing.T) {
	t.Parallel()
	r, _ := start(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	for _, fault := range []otlptest.Fault{otlptest.Hang(), otlptest.Slow(time.Hour)} {
		r.Script(fault)
		if _, err := r.Export(ctx, request(1)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%+v: got %v, want DeadlineExceeded", fault, err)
		}
	}
}
