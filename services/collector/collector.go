// Package collector reads the events of FreeSWITCH servers and publishes them to
// the stream FSAGENT_EVENTS, each line that may leave the switch as it was.
//
// For each server there are two goroutines. The reader (freeswitch) owns the
// connection, drains it always, and puts events into a buffer bounded in bytes,
// which drops the least important when it is full. The publisher takes them out
// in order and keeps many acknowledgements outstanding. NATS being slow or away
// shows in the buffer and never at the switch. Package esl speaks the event
// socket; nothing here knows what an event means.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// ErrNotReady is returned by Ready with what is missing.
var ErrNotReady = errors.New("collector is not ready")

// Collector reads any number of FreeSWITCH servers.
type Collector struct {
	cfg      Config
	nc       *nats.Conn
	switches []*freeswitch
	log      *slog.Logger
	natsUp   atomic.Bool
}

// New makes a collector that publishes through nc to partitions partitions, as
// many as the streams were made with. Of nc it wants that messages are not kept
// while the connection is away (nats.ReconnectBufSize(-1), as stream.Connect
// sets), because they would overtake what was in flight. NATS and the servers may
// be down. Metrics are registered with reg. The error names what is wrong with
// cfg.
func New(cfg Config, nc *nats.Conn, partitions int, log *slog.Logger, reg prometheus.Registerer) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if partitions < 1 {
		return nil, fmt.Errorf("%d partitions", partitions)
	}
	filter, err := esl.NewFilter(cfg.filter())
	if err != nil {
		return nil, err
	}
	met, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("metrics of the collector: %w", err)
	}
	c := &Collector{cfg: cfg, nc: nc, log: log}
	clk, num, turns := clock{start: time.Now()}, newNumbers(), make(chan struct{}, snapshotsAtOnce)
	for _, in := range cfg.Instances {
		s, err := newSwitch(cfg, in, nc, partitions, filter, met, clk, num, turns, log.With("fs_instance", in.Name))
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", in.Name, err)
		}
		c.switches = append(c.switches, s)
	}
	return c, nil
}

func newSwitch(cfg Config, in Instance, nc *nats.Conn, partitions int, filter *esl.Filter, met *metrics, clk clock, num *numbers, turns chan struct{}, log *slog.Logger) (*freeswitch, error) {
	s := &freeswitch{
		Instance:   in,
		esl:        cfg.ESL,
		events:     Subscription(cfg.Events.RTCP),
		partitions: partitions,
		filter:     filter,
		clock:      clk,
		numbers:    num,
		turns:      turns,
		log:        log,
		names:      make(map[string]string),
		stale:      make(chan struct{}, 1),
	}
	for _, n := range s.events {
		s.names[n] = n
	}
	s.met = met.of(in.Name, s.events)
	s.buf = newBuffer(cfg.Events.BufferBytes, s.met.drop)
	s.pub = &publisher{
		instance:   in.Name,
		partitions: partitions,
		cfg:        cfg.Publish,
		nc:         nc,
		buf:        s.buf,
		win:        newWindow(cfg.Publish.Window, int64(cfg.Publish.WindowBytes)),
		met:        s.met,
		clock:      clk,
		numbers:    num,
		onStale:    s.forgetLegs,
		log:        log,
		inbox:      nc.NewInbox() + ".",
		subjects:   make(map[string][]string),
		acks:       make(chan struct{}, 1),
	}
	return s, s.met.gauges(
		func() float64 { bytes, _, _ := s.buf.size(); return float64(bytes) },
		func() float64 { n, _ := s.pub.win.waiting(); return float64(n) },
		func() float64 { return s.lag().Seconds() },
	)
}

// lag is how long the oldest event has been waiting that is not acknowledged.
func (s *freeswitch) lag() time.Duration {
	if n, at := s.pub.win.waiting(); n > 0 {
		return time.Duration(s.clock.now() - at)
	}
	if _, at, ok := s.buf.size(); ok {
		return time.Duration(s.clock.now() - at)
	}
	return 0
}

// Run reads and publishes until ctx ends; then it stops reading, publishes what
// is in the buffers within publish.stop_timeout, and returns nil. It is called
// once.
func (c *Collector) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop, cancelStop := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelStop()
	read, stopReading := context.WithCancel(ctx)
	defer stopReading()

	var readers, publishers, watcher sync.WaitGroup
	errs := make([]error, len(c.switches))
	drained, readersDone := context.WithCancel(context.Background())
	defer readersDone()
	for i, s := range c.switches {
		readers.Go(func() { s.read(read) })
		publishers.Go(func() {
			if errs[i] = s.pub.run(drained, stop); errs[i] != nil {
				fail(errs[i])
			}
		})
	}
	watch, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	watcher.Go(func() { c.watch(watch) })

	<-ctx.Done()
	c.log.Info("collector stops", "cause", context.Cause(ctx))
	readers.Wait()
	limit := time.AfterFunc(c.cfg.Publish.StopTimeout, cancelStop)
	defer limit.Stop()
	readersDone()
	publishers.Wait()
	stopWatch()
	watcher.Wait()
	c.countLeft()
	return errors.Join(errs...)
}

// countLeft says what could not be published before the end.
func (c *Collector) countLeft() {
	for _, s := range c.switches {
		inFlight, _ := s.pub.win.waiting()
		if left := s.buf.abandon(); left > 0 || inFlight > 0 {
			s.log.Warn("collector ended before the stream took all events", "count", left, "unacknowledged", inFlight)
		}
	}
}

// watch follows the connection to NATS and says when events begin to be dropped
// and when that has ended. It does so beside the readers, which must not wait for
// a log.
func (c *Collector) watch(ctx context.Context) {
	changes := c.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer c.nc.RemoveStatusListener(changes)
	c.natsUp.Store(c.nc.IsConnected())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	dropped := make([]uint64, len(c.switches))
	dropping := make([]bool, len(c.switches))
	for {
		select {
		case <-ctx.Done():
			return
		case st := <-changes:
			c.natsUp.Store(st == nats.CONNECTED)
		case <-tick.C:
			for i, s := range c.switches {
				n := s.met.droppedCount[bufferFull].Load()
				// While the stream takes nothing, only that nothing comes keeps events from being dropped.
				more := n > dropped[i] || dropping[i] && s.pub.stalled.Load() != nil
				if more != dropping[i] {
					dropping[i] = more
					if more {
						s.log.Warn("buffer is full, events are dropped; see NATS, or raise events.buffer_bytes", "count", n)
					} else {
						s.log.Info("events are no longer dropped", "count", n)
					}
				}
				dropped[i] = n
			}
		}
	}
}

// Ready returns an error wrapping ErrNotReady unless NATS is connected and takes
// events, and at least one FreeSWITCH is connected.
func (c *Collector) Ready() error {
	if !c.natsUp.Load() {
		return fmt.Errorf("%w: NATS is not connected", ErrNotReady)
	}
	if err := c.stalled(); err != nil {
		return fmt.Errorf("%w: events wait: %w", ErrNotReady, err)
	}
	for _, s := range c.switches {
		if s.current().connected {
			return nil
		}
	}
	return fmt.Errorf("%w: no FreeSWITCH is connected", ErrNotReady)
}

// stalled returns why the stream takes no events, or nil if it does.
func (c *Collector) stalled() error {
	for _, s := range c.switches {
		if err := s.pub.stalled.Load(); err != nil {
			return *err
		}
	}
	return nil
}
