// Package exporter is the last stage of the pipeline: it reads the samples that
// the calculators publish on FSAGENT_SAMPLES and sends them, as metric points
// with the time of the event, to an OTLP endpoint by gRPC.
//
// Replicas share one durable consumer. A message is acknowledged when the
// endpoint has answered for every sample in it, so what the endpoint does not
// take waits in the stream; a message that comes again is sent again with the
// same identity, time and value. Every lane of a replica reads, converts and
// sends on its own; all samples of one partition take the same lane, so a
// series leaves a replica in order.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Exporter sends samples to one OTLP endpoint. Its methods may be called at any
// time, from any goroutine; Run is called once.
type Exporter struct {
	cfg     Config
	js      jetstream.JetStream
	log     *slog.Logger
	metrics *instruments
	held    *held
	stream  *condition
	otlp    *condition
	lanes   []*lane // the last is that of ahead
	ahead   *ahead
}

// New checks cfg and prepares the lanes. It needs neither NATS nor the endpoint
// to be up: gRPC connects in the background. Metrics are registered with reg
// unless it is nil.
func New(cfg Config, js jetstream.JetStream, log *slog.Logger, reg prometheus.Registerer) (*Exporter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Exporter{
		cfg: cfg, js: js, log: log,
		stream: newCondition(log, "sample stream"),
		otlp:   newCondition(log, "OTLP endpoint"),
	}
	e.stream.set(waiting, errNotStarted)
	e.held = newHeld(e.connection, log)
	e.ahead = &ahead{held: newHeld(e.connection, log)}
	m, err := newInstruments(reg, e.lag, e.holding)
	if err != nil {
		return nil, err
	}
	e.metrics = m
	for range cfg.Lanes + 1 {
		c, err := newClient(cfg)
		if err != nil {
			return nil, errors.Join(err, e.shutdown())
		}
		e.lanes = append(e.lanes, newLane(e, c))
	}
	e.ahead.lane = e.lanes[cfg.Lanes]
	return e, nil
}

var (
	errNotStarted = errors.New("not started")
	errStopped    = errors.New("stopped")
)

// Run exports until ctx ends, then finishes what is in memory within
// Config.StopTimeout, gives the rest back to the stream and returns nil. An
// error means that it cannot go on: the NATS connection was closed for good.
func (e *Exporter) Run(ctx context.Context) error {
	work, cancel := graceful(ctx, e.cfg.StopTimeout)
	defer cancel()
	var lanes sync.WaitGroup
	for _, l := range e.lanes {
		lanes.Go(func() { l.run(ctx, work) })
	}
	beat, stopBeat := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeat()
	var beats sync.WaitGroup
	beats.Go(func() { e.heartbeat(beat) })

	looking, stopLooking := context.WithCancel(ctx)
	defer stopLooking()
	var second sync.WaitGroup
	second.Go(func() { e.ahead.run(looking) })

	err := newIntake(e).run(ctx)
	stopLooking()
	second.Wait()
	cancelWhenFailed(err, cancel)
	for _, l := range e.lanes {
		close(l.in)
	}
	lanes.Wait()
	stopBeat()
	beats.Wait()
	e.payLast()
	e.held.giveBack()
	e.ahead.held.giveBack()
	e.flush()
	e.stream.set(waiting, errStopped)
	e.log.Info("exporter stopped", "cause", context.Cause(ctx))
	return errors.Join(err, e.shutdown())
}

// graceful returns a context that outlives ctx by at most limit.
func graceful(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(limit, cancel)
		context.AfterFunc(work, func() { t.Stop() })
	})
	return work, func() { stop(); cancel() }
}

func cancelWhenFailed(err error, cancel context.CancelFunc) {
	if err != nil {
		cancel()
	}
}

// laneOf keeps all messages of one partition in one lane.
func (e *Exporter) laneOf(subject string) *lane {
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject))
	return e.lanes[h.Sum32()%uint32(e.cfg.Lanes)]
}

// payLast sends what is owed, if the server can say to which stream.
func (e *Exporter) payLast() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := e.look(ctx); err != nil {
		e.log.Debug("acknowledgements that were owed are not sent, the samples come again", "err", err)
	}
}

// flush hands the last acknowledgements to the server.
func (e *Exporter) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := e.js.Conn().FlushWithContext(ctx); err != nil {
		e.log.Debug("last acknowledgements may be lost, the samples come again", "err", err)
	}
}

func (e *Exporter) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var errs []error
	for _, l := range e.lanes {
		errs = append(errs, l.client.close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close OTLP connection: %w", err)
	}
	return nil
}
