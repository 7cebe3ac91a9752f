package otlptest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// Attribute is one label. Values that are no strings are written as text.
type Attribute struct{ Key, Value string }

// Attributes are sorted by key.
type Attributes []Attribute

// Get returns the value of key, "" if there is none.
func (a Attributes) Get(key string) string {
	for _, kv := range a {
		if kv.Key == key {
			return kv.Value
		}
	}
	return ""
}

// String writes {key="value",...}.
func (a Attributes) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, kv := range a {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(kv.Key)
		b.WriteByte('=')
		b.WriteString(strconv.Quote(kv.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// Point is one number point with all that it inherits.
type Point struct {
	Resource Attributes
	// Scope is the name of the instrumentation scope.
	Scope string
	// Metric, Unit and Type, which is "gauge", or "sum" with its temporality and
	// monotonicity: "cumulative monotonic sum".
	Metric, Unit, Type string
	Attributes         Attributes
	// Time is the zero time if it is not set; so is StartTime.
	Time, StartTime time.Time
	// Integer says that the number on the wire is an int64.
	Integer bool
	Value   float64
	// NoValue says that the point ends its series.
	NoValue bool
}

// Identity is equal for the same point sent twice: series and time.
func (p Point) Identity() string {
	return p.Metric + p.Resource.String() + p.Attributes.String() + strconv.FormatInt(p.Time.UnixNano(), 10)
}

// String is the canonical form: one line, times in UTC with microseconds.
func (p Point) String() string {
	kind := "double"
	if p.Integer {
		kind = "int"
	}
	start := ""
	if !p.StartTime.IsZero() {
		start = " since " + stamp(p.StartTime)
	}
	value := strconv.FormatFloat(p.Value, 'g', -1, 64)
	if p.NoValue {
		value = "ended"
	}
	return fmt.Sprintf("%s %s %s [%s %s %s]%s %s %s", stamp(p.Time), p.Metric,
		value, p.Type, kind, p.Unit, start, p.Attributes, p.Resource)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// Text is the canonical form of points, sorted by time, metric and attributes, a
// line each.
func Text(points []Point) string {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, compare)
	var b strings.Builder
	for _, p := range sorted {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func compare(a, b Point) int {
	if c := cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Metric, b.Metric)); c != 0 {
		return c // most often; the rest is dear
	}
	return cmp.Or(strings.Compare(a.Attributes.String(), b.Attributes.String()), strings.Compare(a.String(), b.String()))
}

// Unique returns the first of the points of each identity, in their order.
func Unique(points []Point) []Point {
	seen := make(map[string]bool, len(points))
	var first []Point
	for _, p := range points {
		if id := p.Identity(); !seen[id] {
			seen[id] = true
			first = append(first, p)
		}
	}
	return first
}

// Conflicts returns the points whose identity came before with another value:
// there should be none, however often a point is sent.
func Conflicts(points []Point) []Point {
	values := make(map[string]float64, len(points))
	var differ []Point
	for _, p := range points {
		id := p.Identity()
		if v, ok := values[id]; ok && v != p.Value {
			differ = append(differ, p)
		} else {
			values[id] = p.Value
		}
	}
	return differ
}

// flatten makes points of a request. Metrics without number points, as
// histograms, are left out.
func (r *Receiver) flatten(req *colmetricpb.ExportMetricsServiceRequest) []Point {
	var points []Point
	for _, rm := range req.GetResourceMetrics() {
		resource := r.attributes(rm.GetResource().GetAttributes())
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				kind, numbers := numberPoints(m)
				base := Point{Resource: resource, Scope: sm.GetScope().GetName(), Metric: m.GetName(), Unit: m.GetUnit(), Type: kind}
				for _, n := range numbers {
					points = append(points, r.point(base, n))
				}
			}
		}
	}
	return points
}

func numberPoints(m *metricspb.Metric) (kind string, points []*metricspb.NumberDataPoint) {
	if g := m.GetGauge(); g != nil {
		return "gauge", g.GetDataPoints()
	}
	s := m.GetSum()
	kind = "sum"
	if s.GetIsMonotonic() {
		kind = "monotonic sum"
	}
	switch s.GetAggregationTemporality() {
	case metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE:
		kind = "cumulative " + kind
	case metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA:
		kind = "delta " + kind
	}
	return kind, s.GetDataPoints()
}

func (r *Receiver) point(p Point, n *metricspb.NumberDataPoint) Point {
	p.Attributes = r.attributes(n.GetAttributes())
	p.Time, p.StartTime = instant(n.GetTimeUnixNano()), instant(n.GetStartTimeUnixNano())
	p.NoValue = n.GetFlags()&uint32(metricspb.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0
	switch v := n.GetValue().(type) {
	case *metricspb.NumberDataPoint_AsInt:
		p.Integer, p.Value = true, float64(v.AsInt)
	case *metricspb.NumberDataPoint_AsDouble:
		p.Value = v.AsDouble
	}
	return p
}

func instant(nanos uint64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanos)).UTC()
}

// attributes returns one slice for all equal sets, so that many points of one
// leg share it.
func (r *Receiver) attributes(kvs []*commonpb.KeyValue) Attributes {
	attrs := make(Attributes, 0, len(kvs))
	for _, kv := range kvs {
		attrs = append(attrs, Attribute{kv.GetKey(), text(kv.GetValue())})
	}
	slices.SortFunc(attrs, func(a, b Attribute) int { return strings.Compare(a.Key, b.Key) })
	if r.discard {
		return attrs
	}
	key := attrs.String()
	if have, ok := r.interned[key]; ok {
		return have
	}
	r.interned[key] = attrs
	return attrs
}

func text(v *commonpb.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}
