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

// intake moves messages from the stream into the lanes until ctx ends. Only a
// connection that is closed for good is an error.
func (e *Exporter) intake(ctx context.Context) error {
	pause := newPause(200*time.Millisecond, 5*time.Second)
	for ctx.Err() == nil {
		err := e.consume(ctx, pause.reset)
		if errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("read samples: %w", err)
		}
		if err != nil && ctx.Err() == nil {
			e.stream.set(waiting, err)
			pause.wait(ctx)
		}
	}
	return nil
}

// consume attaches to the shared consumer, made if need be, and fetches until
// something fails.
func (e *Exporter) consume(ctx context.Context, healthy func()) error {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	consumer, err := e.js.CreateOrUpdateConsumer(ask, stream.Samples, consumerConfig(e.cfg))
	if err != nil {
		return fmt.Errorf("consumer %s: %w", stream.ExportConsumer, err)
	}
	e.stream.set(up, nil)
	for {
		room, ok := e.held.room(ctx, e.cfg.BufferBytes)
		if !ok {
			return nil
		}
		if err := e.fetch(ctx, consumer, room); err != nil {
			return fmt.Errorf("fetch from %s: %w", stream.ExportConsumer, err)
		}
		healthy()
	}
}

func consumerConfig(cfg Config) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       stream.ExportConsumer,
		Description:   "all exporters together",
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       cfg.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: cfg.MaxAckPending,
	}
}

func (e *Exporter) fetch(ctx context.Context, consumer jetstream.Consumer, room int) error {
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
		if err := e.accept(ctx, msg); err != nil {
			return err
		}
	}
	err = batch.Error()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if err == nil && count == 0 && time.Since(began) < fetchWait/100 {
		// The next message is larger than the room; wait for more room.
		newPause(100*time.Millisecond, 0).wait(ctx)
	}
	return err
}

// accept gives a message to its lane. Claim messages of calculators have no
// samples in them.
func (e *Exporter) accept(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("message on %s: %w", msg.Subject(), err)
	}
	e.metrics.waiting(meta.NumPending)
	d := e.held.take(msg, meta)
	switch {
	case d == nil:
		e.metrics.redelivered.Inc()
	case d.size == 0:
		d.settle()
	default:
		e.metrics.batches.Add(1)
		select {
		case e.laneOf(msg.Subject()).in <- d:
		case <-ctx.Done(): // it is given back with all that is held
		}
	}
	return nil
}

// heartbeat keeps the messages of this replica from going to another one while
// they are worked on, and asks how many wait in the stream.
func (e *Exporter) heartbeat(ctx context.Context) {
	tick := time.NewTicker(e.cfg.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.held.alive()
		ask, cancel := context.WithTimeout(ctx, min(askTimeout, e.cfg.AckWait/3))
		if consumer, err := e.js.Consumer(ask, stream.Samples, stream.ExportConsumer); err == nil {
			e.metrics.waiting(consumer.CachedInfo().NumPending)
		}
		cancel()
	}
}
