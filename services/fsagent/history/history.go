// Package history reads the events of the past: from the events stream, or an
// archive of it, of the NATS server that the services use, or from a copy of the
// data directory of an embedded one. It changes nothing there.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/fsagent/fsagent/internal/natsserver"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/fsagent"
)

// ErrStream is returned when the stream is not there or is none of events.
var ErrStream = errors.New("no stream of events")

// History is a stream of events. Close must follow.
type History struct {
	JS     jetstream.JetStream
	Stream string
	// Partitions of the events in it.
	Partitions int
	// Copied: it is a copy of a data directory. Streams made there go with it.
	Copied bool
	// First and Last are the sequences of the oldest and newest event that were
	// there when it was opened; First is Last + 1 if there was none.
	First, Last uint64

	log    *slog.Logger
	stream jetstream.Stream
	close  []func()
}

// Open finds a stream: on the NATS server of the settings, else on the embedded
// one if it listens, else in a copy of its data directory.
func Open(ctx context.Context, cfg fsagent.Config, name string, log *slog.Logger) (h *History, err error) {
	h = &History{log: log, Stream: name, Partitions: cfg.Storage.Partitions}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	connection := cfg.NATS.Connection
	how := []nats.Option{nats.RetryOnFailedConnect(false), nats.Timeout(5 * time.Second)}
	if connection.URL == "" && listens(cfg.NATS.Listen) {
		connection.URL = "nats://" + cfg.NATS.Listen
	}
	if connection.URL == "" {
		server, err := h.copyOf(cfg.DataDir)
		if err != nil {
			return h, err
		}
		how = append(how, server.InProcess())
	}
	nc, err := stream.Connect(connection, "fsagent-history", log, how...)
	if err != nil {
		return h, err
	}
	h.close = append(h.close, nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		return h, fmt.Errorf("JetStream: %w", err)
	}
	return h, h.open(ctx, js)
}

// OpenOn is Open on a server that is connected already.
func OpenOn(ctx context.Context, js jetstream.JetStream, name string, partitions int, log *slog.Logger) (*History, error) {
	h := &History{log: log, Stream: name, Partitions: partitions}
	return h, h.open(ctx, js)
}

func listens(address string) bool {
	if address == "" {
		return false
	}
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// copyOf runs a server over a copy of the stream.
func (h *History) copyOf(dataDir string) (*natsserver.Server, error) {
	dir, err := os.MkdirTemp("", "fsagent-history-")
	if err != nil {
		return nil, err
	}
	h.Copied = true
	h.close = append(h.close, func() { os.RemoveAll(dir) })
	if err := Copy(dataDir, dir, h.Stream); err != nil {
		return nil, err
	}
	server, err := natsserver.Start(natsserver.Config{DataDir: dir}, h.log)
	if err != nil {
		return nil, err
	}
	h.close = append(h.close, server.Stop)
	return server, nil
}

func (h *History) open(ctx context.Context, js jetstream.JetStream) error {
	h.JS = js
	s, err := js.Stream(ctx, h.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %s is not there; nothing was ever stored, or it has another name (--stream)", ErrStream, h.Stream)
	} else if err != nil {
		return fmt.Errorf("stream %s: %w", h.Stream, err)
	}
	h.stream = s
	state := s.CachedInfo().State
	h.First, h.Last = state.FirstSeq, state.LastSeq
	if state.Msgs == 0 {
		h.First = h.Last + 1
		return h.partitions(ctx)
	}
	m, err := h.at(ctx, h.Last)
	if err != nil {
		return err
	}
	if _, ok := stream.Instance(m.Subject); !ok {
		return fmt.Errorf("%w: %s has messages on %s", ErrStream, h.Stream, m.Subject)
	}
	return h.partitions(ctx)
}

// partitions takes the number of partitions from the services' own record of it,
// if it is there: an archive may be elsewhere.
func (h *History) partitions(ctx context.Context) error {
	kv, err := h.JS.KeyValue(ctx, stream.State)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	} else if err != nil {
		return fmt.Errorf("bucket %s: %w", stream.State, err)
	}
	entry, err := kv.Get(ctx, stream.MetaKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	} else if err != nil {
		return fmt.Errorf("bucket %s, key %s: %w", stream.State, stream.MetaKey, err)
	}
	var meta fsagentv1.Meta
	if err := proto.Unmarshal(entry.Value(), &meta); err != nil {
		return fmt.Errorf("bucket %s, key %s: %w", stream.State, stream.MetaKey, err)
	}
	h.Partitions = int(meta.GetPartitions())
	return nil
}

// Close ends the connection and removes the copy, if there is one.
func (h *History) Close() {
	for i := len(h.close) - 1; i >= 0; i-- {
		h.close[i]()
	}
	h.close = nil
}

// at is the first message at or after a sequence.
func (h *History) at(ctx context.Context, sequence uint64) (*jetstream.RawStreamMsg, error) {
	for try := 0; ; try++ {
		m, err := h.stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(">"))
		if err == nil {
			return m, nil
		}
		// A mirror that may answer for the stream (mirror_direct) can be behind it.
		if !errors.Is(err, jetstream.ErrMsgNotFound) || try == behind {
			return nil, fmt.Errorf("message %d of %s: %w", sequence, h.Stream, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// behind is how often a message is asked for that must be there.
const behind = 20

// Time is when the first message at or after a sequence was stored. Sequence must
// not be over Last.
func (h *History) Time(ctx context.Context, sequence uint64) (time.Time, error) {
	m, err := h.at(ctx, sequence)
	if err != nil {
		return time.Time{}, err
	}
	return m.Time, nil
}

// Since is the sequence of the first message that was stored at t or later; Last +
// 1 if there is none.
func (h *History) Since(ctx context.Context, t time.Time) (uint64, error) {
	low, high := h.First, h.Last+1 // the answer is in [low, high]
	for low < high {
		middle := low + (high-low)/2
		m, err := h.at(ctx, middle)
		if err != nil {
			return 0, err
		}
		if m.Time.Before(t) {
			low = m.Sequence + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// Message is one message of the stream.
type Message struct {
	Sequence uint64
	Time     time.Time // when it was stored
	// Partition and Instance of its subject; -1 and empty if it is none of an event.
	Partition int
	Instance  string
	Payload   []byte // for event.Split; valid during the call
}

// patience is how long nothing may come before Read gives up.
const patience = time.Minute

// Read calls f with the messages on some subjects, in the order of the stream,
// from sequence first to last, which must not be over Last. It returns when f was
// given the last of them, with the error of f, or when ctx ends, with its cause. It
// outlives a restart of the server.
func (h *History) Read(ctx context.Context, subjects []string, first, last uint64, f func(Message) error) error {
	heard := time.Now()
	for said := ""; first <= last; {
		err := h.read(ctx, subjects, first, last, func(m Message) error {
			heard, said = time.Now(), ""
			if err := f(m); err != nil {
				return stop{err}
			}
			first = m.Sequence + 1
			heard = time.Now() // f may wait for long
			return nil
		})
		var asked stop
		switch {
		case err == nil:
			return nil
		case errors.As(err, &asked):
			return asked.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Since(heard) > patience:
			return fmt.Errorf("read %s from %d: nothing came for %v: %w", h.Stream, first, patience, err)
		}
		if err.Error() != said {
			said = err.Error()
			h.log.Warn("reading events again", "stream", h.Stream, "from", first, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}

// stop is an error of the caller's function.
type stop struct{ err error }

func (s stop) Error() string { return s.err.Error() }

func (h *History) read(ctx context.Context, subjects []string, first, last uint64, f func(Message) error) error {
	consumer, err := h.JS.OrderedConsumer(ctx, h.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first,
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", h.Stream, err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("read %s: %w", h.Stream, err)
	}
	if info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(500), jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(10*time.Second))
	if err != nil {
		return fmt.Errorf("read %s: %w", h.Stream, err)
	}
	defer messages.Stop()
	ended := context.AfterFunc(ctx, messages.Stop)
	defer ended()
	for {
		msg, err := messages.Next()
		if err != nil {
			return fmt.Errorf("read %s: %w", h.Stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", h.Stream, err)
		}
		m := Message{Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Payload: msg.Data()}
		if m.Sequence > last {
			return nil
		}
		var ok bool
		if m.Partition, ok = stream.PartitionOf(msg.Subject()); !ok {
			m.Partition = -1
		}
		m.Instance, _ = stream.Instance(msg.Subject())
		if err := f(m); err != nil {
			return err
		}
		if m.Sequence == last || meta.NumPending == 0 {
			return nil
		}
	}
}
