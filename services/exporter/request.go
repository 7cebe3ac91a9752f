package exporter

import (
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// item is one sample on its way out. It is settled once: when the endpoint has
// taken it, or it is parked.
type item struct {
	sample *fsagentv1.Sample
	values []measurement
	from   *delivery
	// bytes is an upper bound of its size on the wire.
	bytes int
}

// pointSize is an upper bound for the bytes of a point without its labels: two
// times and a value of 9 bytes each, its own tag and length.
const pointSize = 3*9 + 6

// request is what goes out at once: samples of one FreeSWITCH server.
type request struct {
	instance      string
	items         []item
	points, bytes int
	// oldest and newest event time in it, microseconds since 1970.
	oldest, newest int64
}

func (r *request) add(it item) {
	t := it.sample.GetTimeUs()
	if len(r.items) == 0 {
		r.oldest, r.newest = t, t
	}
	r.items = append(r.items, it)
	r.points += len(it.values)
	r.bytes += it.bytes
	r.oldest, r.newest = min(r.oldest, t), max(r.newest, t)
}

// limits of one request.
type limits struct {
	points, bytes int
	span          time.Duration
}

// fits is true if r may take it as well. A request takes at least one sample,
// however large.
func (l limits) fits(r *request, it item) bool {
	if len(r.items) == 0 {
		return true
	}
	t := it.sample.GetTimeUs()
	span := max(r.newest, t) - min(r.oldest, t)
	return r.points+len(it.values) <= l.points && r.bytes+it.bytes <= l.bytes && span <= l.span.Microseconds()
}

// assembler collects samples into requests, one open request for each
// FreeSWITCH server.
type assembler struct {
	limits limits
	open   map[string]*request
}

// add returns the request that had to be closed to take it, or nil.
func (a *assembler) add(it item) *request {
	instance := it.sample.GetFsInstance()
	r := a.open[instance]
	if r != nil && a.limits.fits(r, it) {
		r.add(it)
		return nil
	}
	next := &request{instance: instance}
	next.add(it)
	a.open[instance] = next
	return r
}

// close returns all open requests.
func (a *assembler) close() []*request {
	all := make([]*request, 0, len(a.open))
	for instance, r := range a.open {
		all = append(all, r)
		delete(a.open, instance)
	}
	return all
}

// builder makes points of items. Its buffers are used again: what build
// returned is valid until the next call.
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
			set = b.labels.set(v.direction, v.source)
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
