package calculator

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a calculator. What is counted for every event is a plain counter,
// kept here and read when somebody asks.
type metrics struct {
	operations *prometheus.CounterVec
	flushes    prometheus.Counter
	gaps       *prometheus.CounterVec // by reason
	owned      prometheus.Gauge
	behind     []prometheus.Gauge // by partition
	legs       *prometheus.GaugeVec
	checkpoint *prometheus.GaugeVec
	bytes      *prometheus.GaugeVec
	messages   *prometheus.GaugeVec
	keys       *prometheus.GaugeVec // by partition and kind
	stateBytes *prometheus.GaugeVec // by partition
	processed  prometheus.Counter
	rtcp       prometheus.Counter
	reports    prometheus.Counter
	legEnds    prometheus.Counter
	rejects    *prometheus.CounterVec

	mu       sync.Mutex
	segments map[int]extent // of owned partitions

	stats   counters
	trouble trouble // for Ready
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
	keys := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_state_keys", Help: "Keys of the state bucket that hold the legs of an owned partition. live: they count; deleted: they do not any more, most are delete markers, which go after a minute."}, []string{"partition", "kind"})
	stateBytes := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_state_bytes", Help: "Bytes in the live keys of an owned partition."}, []string{"partition"})
	checkpoint := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_last_checkpoint_timestamp_seconds", Help: "When the owner record of an owned partition was last written. It is not while no event comes."}, []string{"partition"})
	reg.MustRegister(owned, behind, legs, bytes, messages, keys, stateBytes, checkpoint)
	m := &metrics{
		operations: vec("fsagent_storage_operations_total", "Operations on the state bucket and the samples stream.", "operation"),
		flushes:    counter("fsagent_sample_batches_total", "Batches of samples published."),
		gaps:       vec("fsagent_event_gaps_total", "Times something was lost. events: some had left the stream before they were read; stream: it was made anew or has lost its end; state: states of legs were missing in the bucket.", "reason"),
		owned:      owned,
		legs:       legs,
		checkpoint: checkpoint,
		bytes:      bytes,
		messages:   messages,
		keys:       keys,
		stateBytes: stateBytes,
		segments:   map[int]extent{},
		processed:  counter("fsagent_events_processed_total", "Events stepped."),
		rtcp:       counter("fsagent_rtcp_messages_processed_total", "RTCP reports measured."),
		reports:    samples.WithLabelValues("report"),
		legEnds:    samples.WithLabelValues("leg_end"),
		rejects:    vec("fsagent_events_rejected_total", "Events that changed nothing, by reason.", "reason"),
	}
	for _, reason := range []string{gapEvents, gapStream, gapState} {
		m.gaps.WithLabelValues(reason) // 0 is worth knowing
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

// Reasons of gaps.
const (
	gapEvents = "events"
	gapStream = "stream"
	gapState  = "state"
)

// letGo forgets what is said of an owned partition only.
func (m *metrics) letGo(partition int) {
	m.behind[partition].Set(0)
	m.setLegs(partition, 0, 0)
	m.checkpoint.DeleteLabelValues(strconv.Itoa(partition))
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.segments, partition)
	m.stateBytes.DeleteLabelValues(strconv.Itoa(partition))
	m.keys.DeletePartialMatch(prometheus.Labels{"partition": strconv.Itoa(partition)})
}

// setSegments tells which segments of an owned partition count.
func (m *metrics) setSegments(partition int, e extent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.segments[partition] = e
	m.stateBytes.WithLabelValues(strconv.Itoa(partition)).Set(float64(e.bytes))
}

// setKeys tells which subjects of segments there are in the bucket.
func (m *metrics) setKeys(subjects map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type count struct{ live, deleted int }
	found := map[int]count{}
	for subject := range subjects {
		p, number, ok := stream.SegmentOf(subject)
		e, mine := m.segments[p]
		if !ok || !mine {
			continue
		}
		c := found[p]
		if number >= e.first && number < e.next {
			c.live++
		} else {
			c.deleted++
		}
		found[p] = c
	}
	for p := range m.segments {
		m.keys.WithLabelValues(strconv.Itoa(p), "live").Set(float64(found[p].live))
		m.keys.WithLabelValues(strconv.Itoa(p), "deleted").Set(float64(found[p].deleted))
	}
}

// setLegs tells how many legs a partition has.
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
