package exporter

import (
	"errors"
	"time"
)

// Stats are counters since New, and what is held now.
type Stats struct {
	// Batches and Samples read from the stream.
	Batches, Samples uint64
	// PointsAccepted and PointsRejected by the endpoint; a rejected point is not
	// sent again.
	PointsAccepted, PointsRejected uint64
	// Parked samples and messages.
	Parked uint64
	// Retries of requests that were not taken.
	Retries uint64
	// Held messages: fetched and not acknowledged.
	Held int
	// Pending messages that no exporter has fetched.
	Pending uint64
	// Lag is the age of the oldest sample held; 0 if none is.
	Lag time.Duration
}

// Stats returns the counters.
func (e *Exporter) Stats() Stats {
	m := e.metrics
	return Stats{
		Batches: m.batches.Load(), Samples: m.samples.Load(),
		PointsAccepted: m.accepted.Load(), PointsRejected: m.rejected.Load(),
		Parked: m.letters.Load(), Retries: m.retries.Load(),
		Held: e.holding(), Pending: m.behind.Load(),
		Lag: e.lag(),
	}
}

// holding is the number of messages fetched and not acknowledged.
func (e *Exporter) holding() int { return e.held.count() + e.ahead.held.count() }

// lag is the age of the oldest sample held.
func (e *Exporter) lag() time.Duration {
	now := time.Now()
	return max(e.held.lag(now), e.ahead.held.lag(now))
}

// Ready returns nil while samples can be read and the endpoint took the last
// request, else what is wrong.
func (e *Exporter) Ready() error {
	return errors.Join(e.stream.ready(), e.otlp.ready())
}

// Health is the state of the exporter and its two neighbours, as JSON.
func (e *Exporter) Health() any {
	s := e.Stats()
	status := "ok"
	if e.Ready() != nil {
		status = "degraded"
	}
	return struct {
		Status     string  `json:"status"`
		Stream     health  `json:"stream"`
		Endpoint   health  `json:"endpoint"`
		Held       int     `json:"held_messages"`
		Pending    uint64  `json:"pending_messages"`
		Parked     uint64  `json:"parked"`
		LagSeconds float64 `json:"lag_seconds"`
	}{status, e.stream.health(), e.otlp.health(), s.Held, s.Pending, s.Parked, s.Lag.Seconds()}
}
