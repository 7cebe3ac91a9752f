package exporter

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// results of points.
const (
	resultAccepted = iota
	resultRejected
	resultParked
	resultCount
)

// codeCount is one more than the largest gRPC status code.
const codeCount = codes.Unauthenticated + 1

// instruments count what the exporter does, for Prometheus and for Stats.
type instruments struct {
	points      [resultCount]prometheus.Counter
	requests    [codeCount]prometheus.Counter
	parked      map[reason]prometheus.Counter
	redelivered prometheus.Counter

	batches, samples, accepted, rejected, letters, retries, behind atomic.Uint64
}

func newInstruments(reg prometheus.Registerer, lag func() time.Duration, held func() int) (*instruments, error) {
	m := &instruments{parked: map[reason]prometheus.Counter{}}
	points := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fsagent_export_points_total", Help: "Metric points by what became of them.",
	}, []string{"result"})
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fsagent_export_requests_total", Help: "OTLP requests by gRPC status code of the answer.",
	}, []string{"code"})
	parked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fsagent_export_parked_total", Help: "Samples and messages parked as dead letters, by reason.",
	}, []string{"reason"})
	m.redelivered = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fsagent_export_redelivered_total", Help: "Messages that came again while they were held.",
	})
	for i, result := range [resultCount]string{"accepted", "rejected", "parked"} {
		m.points[i] = points.WithLabelValues(result)
	}
	for code := range codeCount {
		m.requests[code] = requests.WithLabelValues(code.String())
	}
	for _, r := range []reason{reasonUndecodable, reasonTime, reasonKind, reasonValue, reasonTooLarge, reasonRefused} {
		m.parked[r] = parked.WithLabelValues(string(r))
	}
	gauges := []prometheus.Collector{
		gauge("fsagent_export_lag_seconds", "Age of the oldest sample held and not exported; 0 if none is held.",
			func() float64 { return lag().Seconds() }),
		gauge("fsagent_export_held_messages", "Messages that this exporter holds.",
			func() float64 { return float64(held()) }),
		gauge("fsagent_export_pending_messages", "Messages in the stream that no exporter has fetched.",
			func() float64 { return float64(m.behind.Load()) }),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range append(gauges, points, requests, parked, m.redelivered) {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func (m *instruments) request(v verdict, points int) {
	code := v.code
	if code >= codeCount { // an endpoint may answer any number
		code = codes.Unknown
	}
	m.requests[code].Inc()
	if v.action != accept {
		return
	}
	rejected := min(uint64(v.rejected), uint64(points))
	m.rejected.Add(rejected)
	m.accepted.Add(uint64(points) - rejected)
	m.points[resultRejected].Add(float64(rejected))
	m.points[resultAccepted].Add(float64(uint64(points) - rejected))
}

// reject counts points that were not taken and are not parked either.
func (m *instruments) reject(points int) {
	m.rejected.Add(uint64(points))
	m.points[resultRejected].Add(float64(points))
}

func (m *instruments) park(r reason) {
	m.letters.Add(1)
	m.parked[r].Inc()
}

// waiting notes how many messages no exporter has fetched.
func (m *instruments) waiting(n uint64) { m.behind.Store(n) }
