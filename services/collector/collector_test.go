package collector_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

const partitions = 4

// rig is a NATS server with the streams.
type rig struct {
	t   *testing.T
	srv *natstest.Server
	js  jetstream.JetStream
}

func newRig(t *testing.T) *rig {
	t.Helper()
	srv := natstest.Start(t)
	return &rig{t: t, srv: srv, js: srv.JetStream(settings())}
}

func settings() stream.Settings {
	s := stream.DefaultSettings()
	s.Partitions = partitions
	return s
}

func instance(name string, fs *esltest.Server) collector.Instance {
	return collector.Instance{Name: name, Host: "127.0.0.1", Port: fs.Addr().Port, Password: esltest.DefaultPassword}
}

func config(instances ...collector.Instance) collector.Config {
	cfg := collector.DefaultConfig()
	cfg.Instances = instances
	cfg.ESL.RetryMin, cfg.ESL.RetryMax = 10*time.Millisecond, 50*time.Millisecond
	cfg.ESL.SnapshotDelay = time.Millisecond
	// What a busy machine is late with is no fault.
	cfg.ESL.DialTimeout, cfg.ESL.ReplyTimeout, cfg.ESL.ProbeTimeout = time.Minute, time.Minute, time.Minute
	cfg.Publish.StopTimeout = time.Minute
	return cfg
}

// collect runs a collector until stop, which waits for its end.
func collect(t *testing.T, cfg collector.Config, nc *nats.Conn) (c *collector.Collector, stop func()) {
	t.Helper()
	return collectInto(t, cfg, nc, prometheus.NewRegistry())
}

// collectInto is collect with metrics.
func collectInto(t *testing.T, cfg collector.Config, nc *nats.Conn, reg prometheus.Registerer) (c *collector.Collector, stop func()) {
	t.Helper()
	c, err := collector.New(cfg, nc, partitions, natstest.Logger(t), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	ended := false
	stop = func() {
		t.Helper()
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return c, stop
}

func newFreeSWITCH(t *testing.T, cfg esltest.Config) *esltest.Server {
	t.Helper()
	fs, err := esltest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func load(t testing.TB, names ...string) []*recording.Recording {
	t.Helper()
	var out []*recording.Recording
	for _, n := range names {
		r, err := recording.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// play plays to one client as fast as it reads and returns how many were written.
func play(t *testing.T, fs *esltest.Server, p esltest.Playback) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := fs.Play(ctx, p); err != nil {
		t.Fatalf("Play: %v", err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// stored is every message of the events stream in order, less what snapshots
// made: one taken while a recording is played finds channels of another process
// than the simulated one, and asks for them.
func (r *rig) stored() []*jetstream.RawStreamMsg {
	r.t.Helper()
	return slices.DeleteFunc(r.all(), func(m *jetstream.RawStreamMsg) bool {
		return strings.HasSuffix(m.Subject, "."+event.Sync) || strings.HasSuffix(m.Subject, "."+event.ChannelData)
	})
}

// all is every message of the events stream in order.
func (r *rig) all() []*jetstream.RawStreamMsg {
	r.t.Helper()
	eventually(r.t, "the rig's own connection is back", r.js.Conn().IsConnected)
	s, err := r.js.Stream(r.t.Context(), stream.Events)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := s.Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var out []*jetstream.RawStreamMsg
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		m, err := s.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

var subscribed = func() map[string]bool {
	m := make(map[string]bool)
	for _, n := range []string{event.ChannelCreate, event.ChannelAnswer, event.ChannelBridge, event.ChannelUnbridge,
		event.ChannelHold, event.ChannelUnhold, event.ChannelUUID, event.ChannelProgressMedia, event.Codec,
		event.ChannelHangupComplete, event.ChannelDestroy, event.Heartbeat, event.Shutdown, event.Startup,
		event.RecvRTCP, event.SendRTCP} {
		m[n] = true
	}
	return m
}()

// want is what a collector publishes of recordings, in order.
func want(t testing.TB, recordings []*recording.Recording) [][]byte {
	t.Helper()
	f, err := esl.NewFilter(esl.FilterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, r := range recordings {
		for _, raw := range r.Events() {
			id, err := event.Scan(raw)
			if err != nil {
				t.Fatal(err)
			}
			if subscribed[string(id.Name)] {
				out = append(out, f.Append(nil, raw))
			}
		}
	}
	return out
}

func TestEveryRecordingArrivesInOrder(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			fs := newFreeSWITCH(t, esltest.Config{})
			c, stop := collect(t, config(instance("fs1", fs)), r.srv.Connect())
			recs := load(t, name)
			play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
			events := want(t, recs)
			eventually(t, "all events published", func() bool { return c.Stats().Published == uint64(len(events)) })
			stop()
			got := r.stored()
			if len(got) != len(events) {
				t.Fatalf("got %d messages, want %d", len(got), len(events))
			}
			for i, m := range got {
				if !bytes.Equal(m.Data, events[i]) {
					t.Fatalf("message %d differs:\n%s\nwant:\n%s", i, m.Data, events[i])
				}
				checkSubject(t, m)
			}
			st := c.Stats()
			if st.BufferedBytes != 0 || len(st.Dropped) != 0 || len(st.Rejected) != 0 || st.EventsRead != uint64(len(events)) {
				t.Errorf("stats: got %+v, want %d read and nothing else", st, len(events))
			}
		})
	}
}

func checkSubject(t *testing.T, m *jetstream.RawStreamMsg) {
	t.Helper()
	id, err := event.Scan(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	key := id.UniqueID
	if len(key) == 0 {
		key = []byte("fs1")
	}
	if want := stream.EventSubject(stream.Partition(key, partitions), "fs1", id.Name); m.Subject != want {
		t.Errorf("subject: got %s, want %s", m.Subject, want)
	}
	if got, want := m.Header.Get(nats.MsgIdHdr), fmt.Sprintf("%s:%d", id.CoreUUID, id.Sequence); got != want {
		t.Errorf("message id: got %s, want %s", got, want)
	}
}
