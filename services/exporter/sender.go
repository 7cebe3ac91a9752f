package exporter

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// Label is a label of every point of a Sender.
type Label struct{ Key, Value string }

// Sender sends samples that its caller has, and not those of a stream: a replay's.
// It makes the same points as an Exporter with the same settings, and retries as
// one. It is for one goroutine.
type Sender struct {
	exporter *Exporter
	lane     *lane
	from     *delivery
	values   []measurement
}

// maxMore is how many labels a Sender may add.
const maxMore = 2

// NewSender prepares to send. It needs no endpoint to be up.
func NewSender(cfg Config, log *slog.Logger, more ...Label) (*Sender, error) {
	if len(more) > maxMore {
		return nil, fmt.Errorf("a sender adds at most %d labels", maxMore)
	}
	cfg.Lanes = 1
	e, err := New(cfg, nil, log, nil)
	if err != nil {
		return nil, err
	}
	s := &Sender{exporter: e, lane: e.lanes[0], from: &delivery{}}
	s.from.open.Store(1) // it is never settled: nobody waits for it
	for _, m := range more {
		s.lane.labels.more = append(s.lane.labels.more, label{m.Key, m.Value})
	}
	s.lane.encoder.labels.more = s.lane.labels.more
	return s, nil
}

// Send takes a sample and sends a request if it fills one. It waits while the
// endpoint does not take requests, and returns the cause of ctx if that ended first:
// then a later Flush sends what was left.
func (s *Sender) Send(ctx context.Context, m *fsagentv1.Sample) error {
	s.lane.stopped = false
	s.values = s.lane.measurer.measure(nil, m)
	s.lane.metrics.samples.Add(1)
	if reason, detail := s.lane.unfit(m, s.values); reason != "" {
		s.lane.park(ctx, ctx, sampleLetter(0, m, reason, detail))
	} else {
		s.lane.take(ctx, ctx, s.from, m, s.values)
	}
	return s.stopped(ctx)
}

// Flush sends what waits for a full request. It returns as Send does.
func (s *Sender) Flush(ctx context.Context) error {
	s.lane.stopped = false
	s.lane.sendAll(ctx, ctx)
	return s.stopped(ctx)
}

func (s *Sender) stopped(ctx context.Context) error {
	if !s.lane.stopped {
		return nil
	}
	if err := s.lane.otlp.ready(); err != nil {
		return fmt.Errorf("samples are left unsent: %w", err)
	}
	return context.Cause(ctx)
}

// Stats are the counters of what was sent. Parked samples are those that no
// endpoint takes; they are logged and left out.
func (s *Sender) Stats() Stats { return s.exporter.Stats() }

// Close ends the connection.
func (s *Sender) Close() error { return s.exporter.shutdown() }

// leaveOut is what a Sender does with what cannot be sent: its caller can make it
// again.
func (l *lane) leaveOut(letters []letter) {
	for _, x := range letters {
		l.metrics.park(x.reason)
		if count, ok := l.muffler.say(string(x.reason), time.Now()); ok {
			l.log.Warn("left out what cannot be sent", "sample", x.id, "reason", x.why(), "count", count)
		}
	}
}
