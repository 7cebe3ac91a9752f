package exporter

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of opentelemetry/proto: collector/metrics/v1, metrics/v1,
// common/v1 and resource/v1. A released field number never changes.
const (
	requestResourceMetrics  protowire.Number = 1
	resourceMetricsResource protowire.Number = 1
	resourceMetricsScope    protowire.Number = 2
	resourceAttributes      protowire.Number = 1
	scopeMetricsScope       protowire.Number = 1
	scopeMetricsMetrics     protowire.Number = 2
	scopeFieldName          protowire.Number = 1
	metricName              protowire.Number = 1
	metricDescription       protowire.Number = 2
	metricUnit              protowire.Number = 3
	metricGauge             protowire.Number = 5
	metricSum               protowire.Number = 7
	dataPoints              protowire.Number = 1 // of Gauge and Sum
	sumTemporality          protowire.Number = 2
	sumIsMonotonic          protowire.Number = 3
	pointTime               protowire.Number = 3
	pointDouble             protowire.Number = 4
	pointInteger            protowire.Number = 6
	pointAttributes         protowire.Number = 7
	pointFlags              protowire.Number = 8
	pairKey                 protowire.Number = 1
	pairValue               protowire.Number = 2
	valueString             protowire.Number = 1

	temporalityCumulative = 2
	flagNoRecordedValue   = 1
)

// encoder writes requests in their wire form. Making the messages of the OTLP
// library and marshalling them costs several times as much, because each of the
// six points of a report repeats the labels; here they are written once and
// copied. Its buffers are used again.
type encoder struct {
	namespace  string
	cumulative bool
	noUnits    bool
	labels     labels
	attributes []byte
	points     [metricCount][]byte
	// ended holds the metrics of points that end a series. Each is a metric of
	// its own, behind all others: the Prometheus exporter of the Collector skips
	// what follows such a point within its metric (measured).
	ended   []byte
	metrics []byte
	out     []byte
}

// request returns an ExportMetricsServiceRequest with the points of items,
// valid until the next call, and the number of points in it.
func (e *encoder) request(instance string, items []item) (data []byte, points int) {
	for id := range e.points {
		e.points[id] = e.points[id][:0]
	}
	e.ended = e.ended[:0]
	for _, it := range items {
		e.add(it)
		points += len(it.values)
	}
	e.metrics = e.metrics[:0]
	for id, encoded := range e.points {
		if len(encoded) > 0 {
			e.metrics = e.appendMetric(e.metrics, metricID(id), encoded)
		}
	}
	e.metrics = append(e.metrics, e.ended...)
	resource := e.resource(instance)
	scope := appendString(nil, scopeFieldName, scopeName)
	scopeMetrics := sizeField(len(scope)) + len(e.metrics)
	resourceMetrics := sizeField(len(resource)) + sizeField(scopeMetrics)

	b := appendHead(e.out[:0], requestResourceMetrics, resourceMetrics)
	b = appendMessage(b, resourceMetricsResource, resource)
	b = appendHead(b, resourceMetricsScope, scopeMetrics)
	b = appendMessage(b, scopeMetricsScope, scope)
	e.out = append(b, e.metrics...)
	return e.out, points
}

// resource is the FreeSWITCH server. Nothing of this replica is in it: another
// replica must continue the same series.
func (e *encoder) resource(instance string) []byte {
	b := appendLabel(nil, resourceAttributes, label{"service.name", "freeswitch"})
	if instance != "" {
		b = appendLabel(b, resourceAttributes, label{"service.instance.id", instance})
	}
	if e.namespace != "" {
		b = appendLabel(b, resourceAttributes, label{"service.namespace", e.namespace})
	}
	return b
}

func (e *encoder) add(it item) {
	e.labels.of(it.sample)
	nanos := uint64(it.sample.GetTimeUs()) * 1000
	for i, v := range it.values {
		if i == 0 || v.direction != it.values[i-1].direction || v.source != it.values[i-1].source {
			e.attributes = e.attributes[:0]
			for _, l := range e.labels.with(v.direction, v.source) {
				e.attributes = appendLabel(e.attributes, pointAttributes, l)
			}
		}
		if v.ended {
			e.end(v.metric, nanos)
			continue
		}
		const numbers = 2 * (1 + 8)
		b := appendHead(e.points[v.metric], dataPoints, numbers+len(e.attributes))
		b = appendFixed(b, pointTime, nanos)
		if metrics[v.metric].integer {
			b = appendFixed(b, pointInteger, uint64(v.integer))
		} else {
			b = appendFixed(b, pointDouble, math.Float64bits(v.double))
		}
		e.points[v.metric] = append(b, e.attributes...)
	}
}

// end writes a point without a value.
func (e *encoder) end(id metricID, nanos uint64) {
	b := appendHead(nil, dataPoints, 1+8+2+len(e.attributes))
	b = appendFixed(b, pointTime, nanos)
	b = append(b, e.attributes...)
	b = protowire.AppendTag(b, pointFlags, protowire.VarintType)
	b = protowire.AppendVarint(b, flagNoRecordedValue)
	e.ended = e.appendMetric(e.ended, id, b)
}

// appendMetric writes one metric with its points, a gauge or the cumulative sum.
func (e *encoder) appendMetric(b []byte, id metricID, points []byte) []byte {
	m := metrics[id]
	if e.noUnits {
		m.unit = ""
	}
	kind, tail := metricGauge, []byte(nil)
	if id == rtcpPacketsLost && e.cumulative {
		kind = metricSum
		tail = protowire.AppendTag(tail, sumTemporality, protowire.VarintType)
		tail = protowire.AppendVarint(tail, temporalityCumulative)
		tail = protowire.AppendTag(tail, sumIsMonotonic, protowire.VarintType)
		tail = protowire.AppendVarint(tail, 1)
	}
	data := len(points) + len(tail)
	size := sizeField(len(m.name)) + sizeField(len(m.description)) + sizeField(len(m.unit)) + sizeField(data)
	b = appendHead(b, scopeMetricsMetrics, size)
	b = appendString(b, metricName, m.name)
	b = appendString(b, metricDescription, m.description)
	b = appendString(b, metricUnit, m.unit)
	b = appendHead(b, kind, data)
	b = append(b, points...)
	return append(b, tail...)
}

func appendLabel(b []byte, field protowire.Number, l label) []byte {
	value := sizeField(len(l.value))
	b = appendHead(b, field, sizeField(len(l.key))+sizeField(value))
	b = appendString(b, pairKey, l.key)
	b = appendHead(b, pairValue, value)
	return appendString(b, valueString, l.value)
}

// sizeField is the size of a field of n bytes with its tag and length. All
// field numbers here are below 16, so that a tag is one byte.
func sizeField(n int) int { return 1 + protowire.SizeBytes(n) }

// appendHead begins a field of n bytes.
func appendHead(b []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(n))
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return append(appendHead(b, field, len(message)), message...)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return append(appendHead(b, field, len(s)), s...)
}

func appendFixed(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}
