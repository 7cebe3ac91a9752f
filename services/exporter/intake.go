package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// fetchMessages of one request to the server.
	fetchMessages = 256
	// fetchWait is how long one request to the server stays open.
	fetchWait = 20 * time.Second
	// fetchHeartbeat of the server during a request; two missing ones mean that
	// it forgot us.
	fetchHeartbeat = 2 * time.Second
	// askTimeout of a question to the server.
	askTimeout = 5 * time.Second
)

// intake moves messages of one consumer from the stream into the lanes.
type intake struct {
	*Exporter
	name string
	held *held
	// condition of the stream as it sees it.
	condition *condition
	// bytes of messages that it may hold.
	bytes  int
	attach func(context.Context) (jetstream.Consumer, error)
	// accept gives a message to its lane.
	accept func(context.Context, jetstream.Msg, *jetstream.MsgMetadata)
}

// run until ctx ends or the consumer is gone for good, which is an error, as is
// a connection that was closed for good.
func (i *intake) run(ctx context.Context) error {
	pause := newPause(200*time.Millisecond, 5*time.Second)
	for ctx.Err() == nil {
		err := i.consume(ctx, pause.reset)
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, errCaughtUp) {
			return fmt.Errorf("read samples: %w", err)
		}
		if err != nil && ctx.Err() == nil {
			i.condition.set(waiting, err)
			pause.wait(ctx)
		}
	}
	return nil
}

// consume attaches to the consumer and fetches until something fails.
func (i *intake) consume(ctx context.Context, healthy func()) error {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	consumer, err := i.attach(ask)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", i.name, err)
	}
	if err := i.look(ask); err != nil {
		return err
	}
	i.condition.set(up, nil)
	for {
		room, ok := i.held.room(ctx, i.bytes)
		if !ok || i.held.unsure() { // ctx ended, or the connection was lost: attach again
			return nil
		}
		if err := i.fetch(ctx, consumer, room); err != nil {
			return fmt.Errorf("fetch from %s: %w", i.name, err)
		}
		healthy()
	}
}

func (i *intake) fetch(ctx context.Context, consumer jetstream.Consumer, room int) error {
	began := time.Now()
	round, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := consumer.Fetch(fetchMessages, jetstream.FetchMaxBytes(room),
		jetstream.FetchContext(round), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return err
	}
	count := 0
	for msg := range batch.Messages() {
		count++
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("message on %s: %w", msg.Subject(), err)
		}
		i.accept(ctx, msg, meta)
	}
	err = batch.Error()
	// Completed: the server has sent what was asked for, as a stream with
	// replicas says when it counts otherwise than the client.
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrBatchCompleted) {
		err = nil
	}
	if err == nil && count == 0 && time.Since(began) < fetchWait/100 {
		// The next message is larger than the room; wait for more room.
		newPause(100*time.Millisecond, 0).wait(ctx)
	}
	return err
}

// hold a message and give it to a lane. Claim messages of calculators have no
// samples in them.
func (i *intake) hold(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, l *lane) {
	d := i.held.take(msg, meta)
	switch {
	case d == nil:
		i.metrics.redelivered.Inc()
	case d.size == 0:
		d.settle()
	default:
		i.metrics.batches.Add(1)
		select {
		case l.in <- d:
		case <-ctx.Done(): // it is given back with all that is held
		}
	}
}

// newIntake reads every message, in the order of the stream.
func newIntake(e *Exporter) *intake {
	i := &intake{Exporter: e, name: stream.ExportConsumer, held: e.held, condition: e.stream, bytes: e.cfg.BufferBytes}
	i.attach = func(ctx context.Context) (jetstream.Consumer, error) {
		return e.js.CreateOrUpdateConsumer(ctx, stream.Samples, stream.ExportAll(e.settings()))
	}
	i.accept = func(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) {
		e.metrics.waiting(meta.NumPending)
		if e.ahead.has(meta) {
			e.held.done(msg, meta)
			return
		}
		i.hold(ctx, msg, meta, e.laneOf(msg.Subject()))
	}
	return i
}

// look which samples stream there is, and let acknowledgements go.
func (e *Exporter) look(ctx context.Context) error {
	both := []*held{e.held, e.ahead.held}
	connection, had := e.connection(), []uint64{both[0].last(), both[1].last()}
	s, err := e.js.Stream(ctx, stream.Samples)
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream.Samples, err)
	}
	info := s.CachedInfo()
	if stream.Leaderless(info) {
		return fmt.Errorf("stream %s has no leader", stream.Samples)
	}
	for i, h := range both {
		if h.since(answer{info.State, connection, had[i]}) > 0 {
			e.ahead.exported.Store(nil)
		}
	}
	return nil
}

// connection numbers the connection to NATS there is.
func (e *Exporter) connection() uint64 { return e.js.Conn().Stats().Reconnects }

// heartbeat keeps the messages of this replica from going to another one while
// they are worked on, and asks whose they are and how many wait in the stream.
func (e *Exporter) heartbeat(ctx context.Context) {
	tick := time.NewTicker(e.cfg.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ask, cancel := context.WithTimeout(ctx, min(askTimeout, e.cfg.AckWait/3))
		if err := e.look(ask); err != nil {
			e.log.Debug("acknowledgements wait", "err", err)
		}
		e.held.alive()
		e.ahead.held.alive()
		if consumer, err := e.js.Consumer(ask, stream.Samples, stream.ExportConsumer); err == nil {
			e.metrics.waiting(consumer.CachedInfo().NumPending)
		}
		cancel()
	}
}

func (e *Exporter) settings() stream.ExportSettings {
	return stream.ExportSettings{AckWait: e.cfg.AckWait, MaxAckPending: e.cfg.MaxAckPending}
}
