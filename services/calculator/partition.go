package calculator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go/jetstream"
)

// partition works off one owned partition: it steps events into legs and
// samples (on the consumer's goroutine), publishes the samples and writes
// checkpoints behind (on two of its own).
type partition struct {
	own *ownership
	cfg Config
	m   *metrics
	log *slog.Logger

	mu       sync.Mutex
	room     sync.Cond // waits for batch to be taken
	table    *leg.Table
	applied  uint64 // last event stepped
	silent   uint64 // samples of events up to here are out already
	batch    []byte // encoded SampleBatch of samples not yet published
	samples  int    // in batch
	stepped  int    // events since the last checkpoint
	stopping bool
	// forgotten are keys of the bucket that say nothing any more, to be deleted
	// with the first checkpoint.
	forgotten []string
	full      chan struct{} // batch or stepped has reached its limit
}

// runPartition claims a partition, works until ctx ends or another takes it,
// and lets go. It returns errLost in the latter case.
func (c *Calculator) runPartition(ctx context.Context, s *store, number int) error {
	log := c.log.With("partition", number)
	record, revision, err := c.await(ctx, s, number)
	if err != nil {
		return err
	}
	started := time.Now()
	events, err := s.events.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream.Events, err)
	}
	own, err := s.claim(ctx, number, c.id, record, revision, events.Created, c.m, log)
	if err != nil {
		return err
	}
	p := &partition{
		own: own, cfg: c.cfg, m: c.m, log: log,
		table: leg.NewTable(c.cfg.Params()), applied: own.record.GetCursor(), silent: own.tail.through,
		full: make(chan struct{}, 1),
	}
	p.room.L = &p.mu
	if err := p.load(ctx, s, events.State.FirstSeq); err != nil {
		return err
	}
	live, _ := p.table.Len()
	// From nobody is the course of things; from another it is news.
	level := slog.LevelDebug
	if record.GetOwner() != "" {
		level = slog.LevelInfo
	}
	log.Log(ctx, level, "partition claimed", "epoch", own.epoch, "from", record.GetOwner(), "cursor", p.applied, "published", p.silent,
		"legs", live, "duration", time.Since(started).Round(time.Millisecond).String())
	c.m.owned.Inc()
	c.setOwned(number, true)
	defer c.setOwned(number, false)
	defer c.m.owned.Dec()
	defer c.m.setLegs(number, 0, 0)
	err = p.work(ctx, s)
	if err != nil {
		log.Info("partition lost", "err", err, "applied", p.applied)
	} else {
		log.Debug("partition handed over", "applied", p.applied)
	}
	return err
}

// await returns the owner record when the partition may be claimed: it is free,
// its owner is dead, or has had the time to finish.
func (c *Calculator) await(ctx context.Context, s *store, number int) (*fsagentv1.OwnerRecord, uint64, error) {
	retry := newBackoff()
	for waited := time.Duration(0); ; {
		record, revision, err := s.owner(ctx, number)
		if err != nil {
			if !retry.wait(ctx, c.log, "read owner record", err) {
				return nil, 0, context.Cause(ctx)
			}
			continue
		}
		owner := record.GetOwner()
		if owner == "" || owner == c.id || !c.alive(owner) || waited > handOver {
			return record, revision, nil
		}
		const pause = 50 * time.Millisecond
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-time.After(pause):
			waited += pause
		}
	}
}

// handOver is how long a living owner has to finish a partition that should be
// another's; then it is taken.
const handOver = 5 * time.Second

// load reads the clocks and legs that the last checkpoint left. first is the
// sequence of the oldest event in the stream.
func (p *partition) load(ctx context.Context, s *store, first uint64) error {
	p.table.LoadCores(p.own.record.GetCores())
	switch {
	case p.own.anew:
		p.m.gaps.Inc()
		p.log.Error("the events stream was made anew: what was not read of the old one is lost, and its legs are forgotten")
	case p.applied > 0 && first > p.applied+1:
		p.m.gaps.Inc()
		p.log.Error("events were removed from the stream before they were read: numbers of this time are missing", "from", p.applied+1, "to", first-1)
	}
	watch, err := s.kv.Watch(ctx, stream.LegFilter(p.own.partition), jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("load legs of partition %d: %w", p.own.partition, err)
	}
	defer func() { _ = watch.Stop() }() // it may have ended
	// A watch whose consumer went away with a server says nothing more.
	silence := time.NewTimer(loadTimeout)
	defer silence.Stop()
	for {
		silence.Reset(loadTimeout)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silence.C:
			return fmt.Errorf("load legs of partition %d: nothing came for %v", p.own.partition, loadTimeout)
		case entry, ok := <-watch.Updates():
			if !ok {
				return fmt.Errorf("load legs of partition %d: the watch ended", p.own.partition)
			}
			if entry == nil {
				return nil
			}
			if p.own.anew {
				p.forgotten = append(p.forgotten, entry.Key())
				continue
			}
			if _, err := p.table.LoadLeg(entry.Value()); err != nil {
				// It will be made anew from the events that follow.
				p.m.reject("state")
				p.log.Error("state of a leg cannot be read", "key", entry.Key(), "revision", entry.Revision(), "err", err)
			}
		}
	}
}

// loadTimeout is how long the bucket may be silent while legs are loaded.
const loadTimeout = 5 * time.Second

// work consumes until ctx ends, then finishes: flush, checkpoint, release.
func (p *partition) work(ctx context.Context, s *store) error {
	consumer, err := s.js.OrderedConsumer(ctx, stream.Events, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{stream.EventFilter(p.own.partition)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    p.applied + 1,
	})
	if err != nil {
		return fmt.Errorf("consume partition %d: %w", p.own.partition, err)
	}
	consuming, err := consumer.Consume(p.step, jetstream.PullMaxMessages(500), jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(10*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			p.log.Debug("consumer of events", "err", err)
		}))
	if err != nil {
		return fmt.Errorf("consume partition %d: %w", p.own.partition, err)
	}
	finishing, cancel := withGrace(ctx, finishTimeout)
	defer cancel()
	err = p.commit(ctx, finishing)

	p.mu.Lock()
	p.stopping = true
	p.room.Broadcast()
	p.mu.Unlock()
	consuming.Stop()
	<-consuming.Closed()
	if err != nil {
		return err
	}
	return p.finish(finishing)
}

// withGrace returns a context that ends grace after ctx.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return out, func() { stop(); cancel() }
}

// finishTimeout bounds an orderly end; what it cuts off the next owner repeats.
const finishTimeout = 10 * time.Second

// step applies the events of one message. It waits while too much is unpublished.
func (p *partition) step(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		p.m.reject("no_metadata")
		return
	}
	seq := meta.Sequence.Stream
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.batch) >= waitingBytes && !p.stopping {
		p.room.Wait()
	}
	if p.stopping || seq <= p.applied {
		return
	}
	if instance, ok := stream.Instance(msg.Subject()); ok {
		p.apply(seq, instance, msg.Data())
	} else {
		p.m.reject("subject")
	}
	p.applied = seq
	p.stepped++
	p.m.behind[p.own.partition].Set(float64(meta.NumPending))
	if p.samples >= flushSamples || len(p.batch) >= flushBytes || p.stepped >= checkpointEvents {
		select {
		case p.full <- struct{}{}:
		default:
		}
	}
}

func (p *partition) apply(seq uint64, instance string, payload []byte) {
	for raw, err := range event.Split(payload) {
		if err != nil {
			p.m.reject(string(leg.Malformed))
			return
		}
		outcome := p.table.Apply(seq, instance, raw, func(s *fsagentv1.Sample) {
			if seq <= p.silent {
				return
			}
			batch, err := sample.Append(p.batch, s)
			if err != nil {
				p.m.reject("sample")
				p.log.Error("sample cannot be encoded", "seq", seq, "err", err)
				return
			}
			p.m.sample(s)
			p.batch = batch
			p.samples++
		})
		p.m.event(outcome)
	}
}

// commit publishes and checkpoints until ctx ends or the partition is lost. What
// it has begun by then it brings to an end, as long as finishing lasts.
func (p *partition) commit(ctx, finishing context.Context) (err error) {
	flush := time.NewTicker(p.cfg.FlushInterval)
	defer flush.Stop()
	lastCheckpoint := time.Now()
	var writing chan error // of the checkpoint being written, if any
	defer func() {
		if writing != nil {
			err = errors.Join(err, <-writing)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-writing:
			writing = nil
			if err != nil {
				return err
			}
			continue
		case <-p.full:
		case <-flush.C:
		}
		p.mu.Lock()
		due := writing == nil && p.stepped > 0 && (p.stepped >= checkpointEvents || time.Since(lastCheckpoint) >= p.cfg.CheckpointInterval)
		batch, through, cut := p.take(due)
		p.mu.Unlock()
		if len(batch) > 0 {
			if err := p.own.publish(finishing, batch, through); err != nil {
				return err
			}
		}
		if due {
			lastCheckpoint = time.Now()
			writing = make(chan error, 1)
			go func() { writing <- p.own.write(finishing, cut) }()
		}
	}
}

// finish leaves nothing for the next owner to repeat. Nothing is stepped any
// more, and no checkpoint is being written.
func (p *partition) finish(ctx context.Context) error {
	p.mu.Lock()
	batch, through, cut := p.take(true)
	p.mu.Unlock()
	if len(batch) > 0 {
		if err := p.own.publish(ctx, batch, through); err != nil {
			return err
		}
	}
	if err := p.own.write(ctx, cut); err != nil {
		return err
	}
	return p.own.release(ctx)
}

// take cuts off what is to be published and, if asked, the state that goes with
// it. The caller holds mu.
func (p *partition) take(withState bool) (batch []byte, through uint64, cut checkpoint) {
	batch, through = p.batch, p.applied
	p.batch, p.samples = nil, 0
	p.room.Broadcast()
	if withState {
		p.stepped = 0
		live, ended := p.table.Len()
		p.m.setLegs(p.own.partition, live, ended)
		cut = checkpoint{cursor: p.applied, cores: p.table.Cores(), states: p.states()}
	}
	return batch, through, cut
}

// states are the keys of the bucket that have changed since the last checkpoint.
// The caller holds mu.
func (p *partition) states() []state {
	changes := p.table.Changes()
	out := make([]state, 0, len(changes)+len(p.forgotten))
	for _, c := range changes {
		s := state{stream.LegKey(p.own.partition, c.Key.CoreUUID, c.Key.UniqueID), c.State}
		out = append(out, s)
		if i := slices.Index(p.forgotten, s.key); i >= 0 {
			p.forgotten = slices.Delete(p.forgotten, i, i+1)
		}
	}
	for _, key := range p.forgotten {
		out = append(out, state{key: key})
	}
	p.forgotten = nil
	return out
}
