package calculator

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/fsagent/fsagent/internal/leg"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a calculator. What is counted for every event is a plain counter,
// kept here and read when somebody asks.
type metrics struct {
	operations *prometheus.CounterVec
	flushes    prometheus.Counter
	gaps       prometheus.Counter
	owned      prometheus.Gauge
	behind     []prometheus.Gauge // by partition
	legs       *prometheus.GaugeVec
	bytes      *prometheus.GaugeVec
	messages   *prometheus.GaugeVec
	processed  prometheus.Counter
	rtcp       prometheus.Counter
	reports    prometheus.Counter
	legEnds    prometheus.Counter
	rejects    *prometheus.CounterVec

	stats counters
}

// counters are what Stats shows.
type counters struct {
	applied, reports, legEnds atomic.Uint64

	mu       sync.Mutex
	rejected map[string]uint64
}

func newMetrics(reg prometheus.Registerer, partitions int) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		reg.MustRegister(c)
		return c
	}
	samples := vec("fsagent_samples_total", "Samples made, by kind.", "kind")
	owned := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fsagent_partitions_owned", Help: "Partitions this calculator owns."})
	behind := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_events_behind", Help: "Events of a partition not yet stepped."}, []string{"partition"})
	legs := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_legs", Help: "Legs in memory, alive or remembered after their end."}, []string{"partition", "state"})
	bytes := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_stream_bytes", Help: "Size of a stream, or of the state bucket, at the NATS server."}, []string{"stream"})
	messages := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_stream_messages", Help: "Messages of a stream; of the state bucket its keys and delete markers."}, []string{"stream"})
	reg.MustRegister(owned, behind, legs, bytes, messages)
	m := &metrics{
		operations: vec("fsagent_storage_operations_total", "Operations on the state bucket and the samples stream.", "operation"),
		flushes:    counter("fsagent_sample_batches_total", "Batches of samples published."),
		gaps:       counter("fsagent_event_gaps_total", "Times events had left the stream before they were read."),
		owned:      owned,
		legs:       legs,
		bytes:      bytes,
		messages:   messages,
		processed:  counter("fsagent_events_processed_total", "Events stepped."),
		rtcp:       counter("fsagent_rtcp_messages_processed_total", "RTCP reports measured."),
		reports:    samples.WithLabelValues("report"),
		legEnds:    samples.WithLabelValues("leg_end"),
		rejects:    vec("fsagent_events_rejected_total", "Events that changed nothing, by reason.", "reason"),
	}
	for p := range partitions {
		m.behind = append(m.behind, behind.WithLabelValues(strconv.Itoa(p)))
	}
	m.stats.rejected = map[string]uint64{}
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "fsagent_qos_messages_generated_total", Help: "End-of-leg samples made.",
	}, func() float64 { return float64(m.stats.legEnds.Load()) }))
	return m
}

// setLegs tells how many legs a partition has; none when it is let go.
func (m *metrics) setLegs(partition, live, ended int) {
	p := strconv.Itoa(partition)
	m.legs.WithLabelValues(p, "live").Set(float64(live))
	m.legs.WithLabelValues(p, "ended").Set(float64(ended))
}

func (m *metrics) event(o leg.Outcome) {
	switch o {
	case leg.Applied:
		m.processed.Inc()
		m.stats.applied.Add(1)
	case leg.Replayed: // counted when it was applied
	default:
		m.reject(string(o))
	}
}

// reject counts an event that changed nothing.
func (m *metrics) reject(reason string) {
	m.rejects.WithLabelValues(reason).Inc()
	m.stats.mu.Lock()
	defer m.stats.mu.Unlock()
	m.stats.rejected[reason]++
}

func (m *metrics) sample(s *fsagentv1.Sample) {
	if s.HasReport() {
		m.rtcp.Inc()
		m.reports.Inc()
		m.stats.reports.Add(1)
	} else {
		m.legEnds.Inc()
		m.stats.legEnds.Add(1)
	}
}
