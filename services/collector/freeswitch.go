package collector

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl"
)

// freeswitch is one server: its connection, which comes and goes, and the buffer
// and publisher of its events, which stay.
type freeswitch struct {
	Instance
	esl        ESLConfig
	events     []string
	partitions int
	filter     *esl.Filter
	buf        *buffer
	pub        *publisher
	met        *instanceMetrics
	clock      clock
	numbers    *numbers
	turns      chan struct{} // holds a token for each snapshot being taken
	log        *slog.Logger
	legs       legs
	stale      chan struct{} // holds one token when a snapshot is needed

	lastUS atomic.Int64 // Event-Date-Timestamp of the last event; 0 before it
	mu     sync.Mutex
	status status

	// Of the reading goroutine alone.
	scratch []byte
	core    string            // Core-UUID of the last event
	names   map[string]string // event names that were asked for, by themselves
}

// status of a connection, as /health shows it.
type status struct {
	connected bool
	cause     string // of the trouble; empty while connected and before the first attempt
	err       string
}

// read keeps a connection to the server until ctx ends.
func (s *freeswitch) read(ctx context.Context) {
	retry := backoff{least: s.esl.RetryMin, most: s.esl.RetryMax}
	for ctx.Err() == nil {
		began := time.Now()
		err := s.session(ctx)
		// A server that takes us and throws us out at once is not asked every second.
		if time.Since(began) > settled*s.esl.RetryMin {
			retry.reset()
		}
		if ctx.Err() != nil {
			break
		}
		s.lost(err)
		select {
		case <-ctx.Done():
		case <-time.After(retry.next(err)):
		}
	}
	s.met.connected.Set(0)
}

// settled is how many times RetryMin a session has to last until the wait after
// it begins anew.
const settled = 10

// session is the life of one connection.
func (s *freeswitch) session(ctx context.Context) error {
	cfg, err := s.ESL(s.esl)
	if err != nil {
		return err
	}
	cfg.Events = s.events
	conn, err := esl.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s.connected(conn.RemoteAddr().String())
	w := watched{conn: conn, replied: make(chan struct{}, 1)}
	ctx, end := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { s.reconcile(ctx, w) })
	defer beside.Wait()
	defer end()
	for {
		f, err := conn.Next()
		if err != nil {
			return err
		}
		switch f.Type {
		case esl.EventPlain:
			s.take(f.Body)
		case esl.CommandReply:
			select {
			case w.replied <- struct{}{}:
			default:
			}
		}
	}
}

// take puts one event into the buffer. It waits for nothing: what it calls takes
// a lock for some instructions at most.
func (s *freeswitch) take(raw []byte) {
	id, err := event.Scan(raw)
	if err != nil {
		s.met.reject("malformed")
		return
	}
	name, asked := s.names[string(id.Name)]
	if !asked {
		name = string(id.Name)
	}
	s.met.read(name)
	s.lastUS.Store(id.TimeUS)
	if s.core != string(id.CoreUUID) {
		s.core = string(id.CoreUUID)
	}
	s.legs.note(name, s.core, id)
	s.scratch = s.filter.Append(s.scratch[:0], raw)
	s.push(id, name, s.core, append(make([]byte, 0, len(s.scratch)), s.scratch...), fromServer)
}

// enqueue is take for an event that was asked for, by any goroutine.
func (s *freeswitch) enqueue(raw []byte, from origin) error {
	id, err := event.Scan(raw)
	if err != nil {
		return err
	}
	s.push(id, string(id.Name), string(id.CoreUUID), s.filter.Append(nil, raw), from)
	return nil
}

func (s *freeswitch) push(id event.ID, name, core string, data []byte, from origin) {
	key := id.UniqueID
	if len(key) == 0 {
		key = []byte(s.Name)
	}
	s.buf.push(queued{
		data:     data,
		core:     core,
		name:     name,
		sequence: id.Sequence,
		timeUS:   id.TimeUS,
		readNS:   s.clock.now(),
		part:     int32(stream.Partition(key, s.partitions)),
		origin:   from,
	})
}

func (s *freeswitch) connected(address string) {
	s.mu.Lock()
	s.status = status{connected: true}
	s.mu.Unlock()
	s.met.connected.Set(1)
	s.pub.joined.Store(s.clock.now())
	s.log.Info("connected to FreeSWITCH", "address", address)
}

// lost notes why there is no connection, and says so when it is news.
func (s *freeswitch) lost(err error) {
	t := diagnose(err)
	s.met.connected.Set(0)
	s.met.all.reconnects.WithLabelValues(s.Name, t.cause).Inc()
	if isBroken(err) {
		s.met.reject(t.cause)
	}
	s.mu.Lock()
	news := s.status.connected || s.status.cause != t.cause
	s.status = status{cause: t.cause, err: err.Error()}
	s.mu.Unlock()
	switch {
	case !news:
		s.log.Debug("no connection to FreeSWITCH", "address", s.address(), "cause", t.cause, "err", err)
	case needsPerson(err):
		s.log.Error("no connection to FreeSWITCH, trying again slowly", "address", s.address(), "cause", t.cause, "err", err, "advice", t.advice)
	default:
		s.log.Warn("no connection to FreeSWITCH, trying again", "address", s.address(), "cause", t.cause, "err", err, "advice", t.advice)
	}
}

func (s *freeswitch) current() status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// clock counts nanoseconds since the collector was made; it never steps.
type clock struct{ start time.Time }

func (c clock) now() int64 { return int64(time.Since(c.start)) + 1 }
