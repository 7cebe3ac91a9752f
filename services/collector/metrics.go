package collector

import (
	"sync"
	"sync/atomic"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a collector. Names that the product this replaces had are kept.
type metrics struct {
	received    *prometheus.CounterVec
	published   *prometheus.CounterVec
	duplicates  *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	rejected    *prometheus.CounterVec
	retries     *prometheus.CounterVec
	made        *prometheus.CounterVec
	madeDropped *prometheus.CounterVec
	snapshots   *prometheus.CounterVec
	reconnects  *prometheus.CounterVec
	connections *prometheus.GaugeVec
	factory     prometheus.Registerer
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"fs_instance"}, labels...))
	}
	m := &metrics{
		received:    counter("fsagent_events_received_total", "Events read from FreeSWITCH.", "event_name"),
		published:   counter("fsagent_events_published_total", "Events that the stream acknowledged."),
		duplicates:  counter("fsagent_events_duplicate_total", "Acknowledged events that were in the stream already."),
		dropped:     counter("fsagent_events_dropped_total", "Events that were read and dropped, for want of room or at the end.", "reason", "event_name"),
		rejected:    counter("fsagent_esl_rejected_total", "Frames and events that could not be read or published.", "reason"),
		retries:     counter("fsagent_publish_retries_total", "Times that publishing went back to the first unacknowledged event."),
		made:        counter("fsagent_made_events_total", "Events published that no FreeSWITCH sent by itself: FSAGENT_SYNC, FSAGENT_GAP, CHANNEL_DATA.", "event_name"),
		madeDropped: counter("fsagent_made_events_dropped_total", "Events of fsagent_made_events_total that were dropped here instead.", "reason", "event_name"),
		snapshots:   counter("fsagent_snapshots_total", "Snapshots of the channels of a FreeSWITCH.", "result"),
		reconnects:  counter("fsagent_fs_connection_failures_total", "Connections to FreeSWITCH that failed or ended.", "cause"),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fsagent_fs_connections", Help: "1 while connected and subscribed to a FreeSWITCH."}, []string{"fs_instance"}),
		factory:     reg,
	}
	for _, c := range []prometheus.Collector{m.received, m.published, m.duplicates, m.dropped, m.rejected, m.retries, m.made, m.madeDropped, m.snapshots, m.reconnects, m.connections} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// otherName stands for event names that were not asked for, so that a switch
// cannot make label values without end.
const otherName = "other"

// instanceMetrics are the children of one FreeSWITCH, and the same as plain numbers.
type instanceMetrics struct {
	names map[string]*nameMetrics
	other *nameMetrics

	published, duplicates, retries prometheus.Counter
	connected                      prometheus.Gauge
	all                            *metrics
	instance                       string

	readCount, publishedCount, duplicateCount atomic.Uint64
	madeCount                                 atomic.Uint64
	droppedCount                              [dropReasons]atomic.Uint64
	mu                                        sync.Mutex
	rejectedCount                             map[string]uint64
}

type nameMetrics struct {
	received prometheus.Counter
	dropped  [dropReasons]prometheus.Counter
}

func (m *metrics) of(instance string, names []string) *instanceMetrics {
	im := &instanceMetrics{
		names:         make(map[string]*nameMetrics),
		published:     m.published.WithLabelValues(instance),
		duplicates:    m.duplicates.WithLabelValues(instance),
		retries:       m.retries.WithLabelValues(instance),
		connected:     m.connections.WithLabelValues(instance),
		all:           m,
		instance:      instance,
		rejectedCount: make(map[string]uint64),
	}
	child := func(name string) *nameMetrics {
		nm := &nameMetrics{received: m.received.WithLabelValues(instance, name)}
		for r := range dropReasons {
			nm.dropped[r] = m.dropped.WithLabelValues(instance, r.String(), name)
		}
		return nm
	}
	for _, n := range names {
		im.names[n] = child(n)
	}
	im.other = child(otherName)
	return im
}

func (im *instanceMetrics) name(name string) *nameMetrics {
	if nm, ok := im.names[name]; ok {
		return nm
	}
	return im.other
}

func (im *instanceMetrics) read(name string) {
	im.readCount.Add(1)
	im.name(name).received.Inc()
}

func (im *instanceMetrics) drop(q *queued, reason dropReason) {
	if q.origin != fromServer {
		im.all.madeDropped.WithLabelValues(im.instance, reason.String(), q.name).Inc()
		return
	}
	im.droppedCount[reason].Add(1)
	im.name(q.name).dropped[reason].Inc()
}

func (im *instanceMetrics) publishedEvent(q *queued, duplicate bool) {
	if q.origin != fromServer {
		im.madeCount.Add(1)
		im.all.made.WithLabelValues(im.instance, q.name).Inc()
		return
	}
	im.publishedCount.Add(1)
	im.published.Inc()
	if duplicate {
		im.duplicateCount.Add(1)
		im.duplicates.Inc()
	}
}

func (im *instanceMetrics) snapshot(ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	im.all.snapshots.WithLabelValues(im.instance, result).Inc()
}

func (im *instanceMetrics) reject(reason string) {
	im.all.rejected.WithLabelValues(im.instance, reason).Inc()
	im.mu.Lock()
	im.rejectedCount[reason]++
	im.mu.Unlock()
}

// gauges are read when they are asked for.
func (im *instanceMetrics) gauges(bufferBytes, inFlight, lag func() float64) error {
	labels := prometheus.Labels{"fs_instance": im.instance}
	for _, g := range []struct {
		name, help string
		read       func() float64
	}{
		{"fsagent_buffer_bytes", "Bytes of events that wait for the stream or its acknowledgement.", bufferBytes},
		{"fsagent_publish_in_flight", "Events published and not yet acknowledged.", inFlight},
		{"fsagent_publish_lag_seconds", "Age of the oldest event that is not acknowledged, since it was read.", lag},
	} {
		if err := im.all.factory.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help, ConstLabels: labels}, g.read)); err != nil {
			return err
		}
	}
	return nil
}

// Subscription lists the events that a collector asks for.
func Subscription(rtcp bool) []string {
	names := []string{
		event.ChannelCreate, event.ChannelAnswer, event.ChannelBridge, event.ChannelUnbridge,
		event.ChannelHold, event.ChannelUnhold, event.ChannelUUID, event.ChannelProgressMedia,
		event.Codec, event.ChannelHangupComplete, event.ChannelDestroy,
		event.Heartbeat, event.Shutdown, event.Startup,
	}
	if rtcp {
		names = append(names, event.RecvRTCP, event.SendRTCP)
	}
	return names
}
