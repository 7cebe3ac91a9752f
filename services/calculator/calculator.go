// Package calculator turns raw events into samples. It owns some of the
// partitions of the events stream, steps their events in order through
// internal/leg, publishes the samples exactly once and keeps the legs' state in
// the bucket behind them. Any number of calculators share the partitions.
//
//	FSAGENT_EVENTS ──▶ partition (step) ──▶ FSAGENT_SAMPLES
//	                        │
//	                        └──▶ FSAGENT_STATE (checkpoints)
package calculator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Calculator is one replica.
type Calculator struct {
	cfg        Config
	id         string
	nc         *nats.Conn
	js         jetstream.JetStream
	partitions int
	log        *slog.Logger
	m          *metrics

	mu      sync.Mutex
	living  []string         // calculators, sorted; nil until the first are known
	running map[int]*running // partitions being claimed or worked on
	wake    chan struct{}    // living or running has changed
}

// running is a partition that this replica works on, or is about to.
type running struct {
	cancel context.CancelCauseFunc
	owned  bool
}

var errMoved = errors.New("partition moves to another calculator")

// New makes a calculator. The streams and the bucket must exist, with that
// number of partitions.
func New(cfg Config, nc *nats.Conn, partitions int, log *slog.Logger, reg prometheus.Registerer) (*Calculator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("calculator: %w", err)
	}
	id := cfg.ID
	if id == "" {
		id = defaultID()
	}
	return &Calculator{
		cfg: cfg, id: id, nc: nc, js: js, partitions: partitions, log: log.With("calculator", id),
		m: newMetrics(reg, partitions), running: map[int]*running{}, wake: make(chan struct{}, 1),
	}, nil
}

var notInKey = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func defaultID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host = notInKey.ReplaceAllString(host, "-")
	return fmt.Sprintf("%.32s-%d-%s", host, os.Getpid(), rand.Text()[:8])
}

// Run works until ctx ends, then hands its partitions over in order. nil means
// stopped as asked.
func (c *Calculator) Run(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return ignoreDone(ctx, err)
	}
	members := &membership{js: c.js, kv: s.kv, id: c.id, lease: c.cfg.Lease, log: c.log, trouble: &c.m.trouble}
	var wg sync.WaitGroup
	// Heartbeats go on while partitions are handed over.
	beating, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { members.run(beating, c.setLiving) })
	wg.Go(func() { c.keepSizes(beating, s) })
	c.supervise(ctx, s)
	stopBeating()
	wg.Wait()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := members.leave(leaving); err != nil {
		c.log.Warn("the others will wait for the lease to end", "err", err)
	}
	return nil
}

// measureInterval is how often the server is asked how large its streams are.
const measureInterval = 15 * time.Second

// keepSizes keeps the sizes of streams and bucket in the metrics.
func (c *Calculator) keepSizes(ctx context.Context, s *store) {
	tick := time.NewTicker(measureInterval)
	defer tick.Stop()
	for {
		c.m.measure(ctx, s)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// measure asks the server. A metric that it does not tell keeps its last value.
func (m *metrics) measure(ctx context.Context, s *store) {
	for _, of := range []jetstream.Stream{s.events, s.samples, s.bucket} {
		var opts []jetstream.StreamInfoOpt
		if of == s.bucket {
			opts = append(opts, jetstream.WithSubjectFilter(stream.StateSubject(stream.AllSegments)))
		}
		info, err := of.Info(ctx, opts...)
		if err != nil {
			continue
		}
		m.bytes.WithLabelValues(info.Config.Name).Set(float64(info.State.Bytes))
		m.messages.WithLabelValues(info.Config.Name).Set(float64(info.State.Msgs))
		if of == s.bucket {
			m.setKeys(info.State.Subjects)
		}
	}
}

func (c *Calculator) open(ctx context.Context) (*store, error) {
	for retry := newBackoff(&c.m.trouble); ; {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := openStore(try, c.js)
		cancel()
		if err == nil {
			return s, nil
		}
		if !retry.wait(ctx, c.log, "open streams", err) {
			return nil, context.Cause(ctx)
		}
	}
}

func ignoreDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c *Calculator) setLiving(living []string) {
	c.mu.Lock()
	c.living = living
	c.mu.Unlock()
	c.log.Info("calculators share the partitions", "living", living, "mine", len(assign(living, c.partitions)[c.id]))
	c.signal()
}

func (c *Calculator) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Calculator) alive(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, found := slices.BinarySearch(c.living, id)
	return found
}

// supervise starts and stops partitions as the assignment says, and returns when
// ctx has ended and all of them have.
func (c *Calculator) supervise(ctx context.Context, s *store) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		c.mu.Lock()
		mine := assign(c.living, c.partitions)[c.id]
		for p, r := range c.running {
			if !slices.Contains(mine, p) {
				r.cancel(errMoved)
			}
		}
		for _, p := range mine {
			if c.running[p] != nil {
				continue // it runs, or is being stopped: its end wakes us
			}
			run, cancel := context.WithCancelCause(ctx)
			c.running[p] = &running{cancel: cancel}
			wg.Go(func() {
				c.keep(run, s, p)
				cancel(nil)
				c.mu.Lock()
				delete(c.running, p)
				c.mu.Unlock()
				c.signal()
			})
		}
		c.mu.Unlock()
	}
}

// keep runs one partition again and again until ctx ends.
func (c *Calculator) keep(ctx context.Context, s *store, number int) {
	for retry := newBackoff(&c.m.trouble); ctx.Err() == nil; {
		started := time.Now()
		err := c.runPartition(ctx, s, number)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, errLost) {
				c.log.Warn("partition was left without a last checkpoint", "partition", number, "err", err)
			}
			return
		}
		if time.Since(started) > worked {
			retry = newBackoff(&c.m.trouble)
		}
		if !retry.wait(ctx, c.log.With("partition", number), "own partition", err) {
			return
		}
	}
}

// worked is how long a partition must have run so that its end has nothing to do with
// the ends before: they come with every hand-over.
const worked = time.Minute

// Ready reports whether the calculator can do its work: NATS is there, takes what
// it is given, and the calculator knows which partitions are its own.
func (c *Calculator) Ready() error {
	if !c.nc.IsConnected() {
		return errors.New("calculator: NATS is not connected")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.living == nil {
		return errors.New("calculator: has not joined the others yet")
	}
	if err := c.m.trouble.now(); err != nil {
		return fmt.Errorf("calculator: NATS does not answer as it should: %w", err)
	}
	return nil
}

// Health is the calculator's part of /health.
type Health struct {
	ID         string   `json:"id"`
	Living     []string `json:"living"`
	Partitions []int    `json:"partitions"`
}

// Health tells who shares the work and which partitions are owned here.
func (c *Calculator) Health() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := Health{ID: c.id, Living: c.living, Partitions: []int{}}
	for p, r := range c.running {
		if r.owned {
			h.Partitions = append(h.Partitions, p)
		}
	}
	slices.Sort(h.Partitions)
	return h
}

// Stats are counts since the start.
type Stats struct {
	Stepped  uint64            // events applied
	Rejected map[string]uint64 // events that changed nothing, by reason
	Reports  uint64            // samples of RTCP reports
	LegEnds  uint64            // samples of ended legs
}

// Stats may be called at any time.
func (c *Calculator) Stats() Stats {
	st := &c.m.stats
	st.mu.Lock()
	defer st.mu.Unlock()
	return Stats{
		Stepped: st.applied.Load(), Reports: st.reports.Load(), LegEnds: st.legEnds.Load(),
		Rejected: maps.Clone(st.rejected),
	}
}

func (c *Calculator) setOwned(number int, owned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.running[number]; r != nil {
		r.owned = owned
	}
}
