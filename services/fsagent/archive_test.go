package fsagent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/command"
	"github.com/fsagent/fsagent/services/fsagent/replay"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc/codes"
)

// stored puts the events of all recordings into the events stream, one recording
// after the other, each from a server of its own.
func stored(t *testing.T, js jetstream.JetStream, names ...string) {
	t.Helper()
	filter, err := esl.NewFilter(esl.FilterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if js, err = jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(100_000)); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r, err := recording.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range r.Events() {
			id, err := event.Scan(raw)
			if err != nil || !slices.Contains(collector.Subscription(true), string(id.Name)) {
				continue
			}
			subject := stream.EventSubject(stream.Partition(id.UniqueID, stream.DefaultPartitions), name, id.Name)
			if _, err := js.PublishAsync(subject, filter.Append(nil, raw)); err != nil {
				t.Fatal(err)
			}
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(2 * time.Minute):
		t.Fatal("events are not stored")
	}
}

// An archive as in deploy/nats, and one that is a source of the events stream and no
// mirror, give the same samples when the events stream has none of the events any
// more.
func TestArchive(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	events, err := js.Stream(t.Context(), stream.Events)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Purge(t.Context(), jetstream.WithPurgeSequence(1000)); err != nil { // numbers begin elsewhere than a source's
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../deploy/nats/archive.json")
	if err != nil {
		t.Fatal(err)
	}
	var mirror jetstream.StreamConfig
	if err := json.Unmarshal(text, &mirror); err != nil {
		t.Fatal(err)
	}
	mirror.Name, mirror.MaxBytes = "mirrored", -1 // less room than on a server
	source := mirror
	source.Name, source.Mirror, source.Sources = "sourced", nil, []*jetstream.StreamSource{{Name: stream.Events}}
	for _, cfg := range []jetstream.StreamConfig{mirror, source} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	stored(t, js, recording.Names()...)
	original, _ := again(t, everything(t, srv.Connect(), stream.Events), "", "", replay.WarmUpAuto)
	until(t, "the archives have all events", func() bool {
		all, err := events.Info(t.Context())
		for _, name := range []string{"mirrored", "sourced"} {
			if s, failure := js.Stream(t.Context(), name); err != nil || failure != nil || s.CachedInfo().State.Msgs != all.State.Msgs {
				return false
			}
		}
		return true
	})
	if err := events.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mirrored", "sourced"} {
		got, _ := again(t, everything(t, srv.Connect(), name), "", "", replay.WarmUpAuto)
		if !bytes.Equal(got.bytes(), original.bytes()) {
			t.Errorf("%s: %d samples, or other ones than the %d of the original", name, len(got.entries), len(original.entries))
		}
	}
}

func (h *heap) bytes() (out []byte) {
	for _, e := range h.entries {
		out = append(out, e.Data...)
	}
	return out
}

// tripped ends a replay after some samples.
type tripped struct {
	replay.Sink
	left int
	trip func()
}

func (s *tripped) Take(ctx context.Context, e replay.Entry) error {
	if s.left--; s.left == 0 {
		s.trip()
	}
	return s.Sink.Take(ctx, e)
}

// A replay into a file, a stream or an endpoint that is interrupted again and again
// leaves what one does that is not.
func TestResume(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	stored(t, js, recording.Names()...)
	h := everything(t, srv.Connect(), stream.Events)
	o := replay.Options{Params: leg.DefaultParams(), WarmUp: replay.WarmUpAuto, Keep: 300, Readers: 3}
	var err error
	if o.From, err = replay.ParseBound("300"); err != nil {
		t.Fatal(err)
	}
	plan := func() (replay.Range, error) { return replay.Plan(t.Context(), h, o) }
	r, err := plan()
	if err != nil {
		t.Fatal(err)
	}
	var want heap
	if err := replay.Run(t.Context(), h, r, nil, o, nil, &want, &replay.Progress{}); err != nil {
		t.Fatal(err)
	}
	path, bookmark := filepath.Join(t.TempDir(), "samples.pb"), filepath.Join(t.TempDir(), "otlp.replay")
	sink, once := newSink(t), newSink(t)
	whole, _ := toOTLP(t, once.Addr(), 100, "")
	if err := errors.Join(replay.Run(t.Context(), h, r, nil, o, nil, whole, &replay.Progress{}), whole.Close(true)); err != nil {
		t.Fatal(err)
	}
	open := map[string]func() (replay.Sink, *replay.States, func(bool) error){
		"file": func() (replay.Sink, *replay.States, func(bool) error) {
			f, _, states, err := replay.ResumeFile(path, replay.Protobuf, "it")
			if err == nil && f == nil {
				f, err = replay.CreateFile(path, replay.Protobuf, "it", r)
			}
			if err != nil {
				t.Fatal(err)
			}
			return f, states, f.Close
		},
		"stream": func() (replay.Sink, *replay.States, func(bool) error) {
			s, _, states, err := replay.OpenStream(t.Context(), js, "again", "it", stream.Memory, 1, natstest.Logger(t), plan)
			if err != nil {
				t.Fatal(err)
			}
			return s, states, func(bool) error { return nil }
		},
		"otlp": func() (replay.Sink, *replay.States, func(bool) error) {
			s, states := toOTLP(t, sink.Addr(), 100, bookmark)
			return s, states, s.Close
		},
	}
	for name, open := range open {
		interrupted, cursors := 0, 0
		for left := 100; ; left += 500 {
			s, states, done := open()
			if states != nil {
				for _, p := range states.Partitions {
					if p.Cursor > 0 {
						cursors++
					}
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			err := replay.Run(ctx, h, r, states, o, nil, &tripped{s, left, cancel}, &replay.Progress{})
			cancel()
			if e := done(err == nil); e != nil {
				t.Fatal(e)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, replay.ErrInterrupted) {
				t.Fatal(err)
			}
			interrupted++
		}
		if interrupted < 3 || (name != "stream") != (cursors > 0) {
			t.Errorf("%s: interrupted %d times, began with %d states of partitions", name, interrupted, cursors)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.bytes()) {
		t.Errorf("the file has %d bytes, want %d, or other ones", len(got), len(want.bytes()))
	}
	if _, err := os.Stat(path + ".replay"); !os.IsNotExist(err) {
		t.Errorf("the file beside the file is left: %v", err)
	}
	if got := content(t, js, "again"); !bytes.Equal(got, want.bytes()) {
		t.Errorf("the stream has %d bytes, want %d, or other ones", len(got), len(want.bytes()))
	}
	if got, want := otlptest.Unique(sink.Points()), otlptest.Unique(once.Points()); otlptest.Text(got) != otlptest.Text(want) {
		t.Errorf("the endpoint has %d points, want %d, or other ones", len(got), len(want))
	}
	if _, _, _, err := replay.OpenStream(t.Context(), js, "again", "something else", stream.Memory, 1, natstest.Logger(t), plan); !errors.Is(err, replay.ErrOther) {
		t.Errorf("another replay into the same stream: got %v, want ErrOther", err)
	}
}

// TestInterruptedInLastRequest: everything is read and the endpoint does not take the
// rest. It has some seconds more to take it; then the replay is one that was
// interrupted.
func TestInterruptedInLastRequest(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	stored(t, srv.JetStream(stream.DefaultSettings()), "01-single-pcmu")
	h := everything(t, srv.Connect(), stream.Events)
	o := replay.Options{Params: leg.DefaultParams(), WarmUp: replay.WarmUpAuto}
	r, err := replay.Plan(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, takes := range map[string]bool{"taken in time": true, "never taken": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := newSink(t)
			endpoint.Always(otlptest.Refuse(codes.Unavailable, "full"))
			w, _ := toOTLP(t, endpoint.Addr(), exporter.DefaultConfig().MaxPoints, filepath.Join(t.TempDir(), "otlp.replay"))
			ctx, cancel := context.WithCancel(t.Context())
			last := &lastCommit{Sink: w, last: r.To, cancel: cancel, again: func() {
				if takes {
					endpoint.Heal()
				}
			}}
			err := replay.Run(ctx, h, r, nil, o, nil, last, &replay.Progress{})
			if takes && (err != nil || len(endpoint.Points()) == 0) {
				t.Errorf("got %v and %d points, want a replay that is through", err, len(endpoint.Points()))
			}
			if !takes && (!errors.Is(err, replay.ErrInterrupted) || !strings.Contains(err.Error(), "full")) {
				t.Errorf("got %v, want ErrInterrupted and what the endpoint says", err)
			}
			if err := w.Close(false); err != nil {
				t.Error(err)
			}
		})
	}
}

// lastCommit ends the context of a replay during its last Commit.
type lastCommit struct {
	replay.Sink
	last   uint64
	cancel context.CancelFunc
	again  func() // before the second try
	tried  bool
}

func (s *lastCommit) Commit(ctx context.Context, through uint64, states *replay.States) error {
	if through < s.last {
		return nil
	}
	if s.tried {
		s.again()
	}
	s.tried = true
	time.AfterFunc(10*time.Millisecond, s.cancel)
	return s.Sink.Commit(ctx, through, states)
}

func newSink(t *testing.T) *otlptest.Receiver {
	t.Helper()
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	return sink
}

// toOTLP sends requests of so many points to an endpoint. It can be resumed if path is
// not empty.
func toOTLP(t *testing.T, addr string, points int, path string) (*replay.OTLP, *replay.States) {
	t.Helper()
	cfg, plain := exporter.DefaultConfig(), true
	cfg.Endpoint, cfg.Insecure, cfg.MaxPoints = addr, &plain, points
	sender, err := exporter.NewSender(cfg, natstest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	w, _, states, err := replay.OpenOTLP(sender, path, "it", func() (replay.Range, error) { return replay.Range{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return w, states
}

// content is the samples of a stream.
func content(t *testing.T, js jetstream.JetStream, name string) (out []byte) {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, msg.Data...)
	}
	return out
}

// The program is killed again and again while it replays into a file; in the end
// the file is that of a run that was not.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	stored(t, js, recording.Names()...)
	want, _ := again(t, everything(t, srv.Connect(), stream.Events), "", "", replay.WarmUpAuto)
	dir := t.TempDir()
	program := natstest.Build(t, "github.com/fsagent/fsagent/services/fsagent/cmd/fsagent")
	file := filepath.Join(dir, "out.pb")
	noted := map[string]func() int64{ // something that grows as the replay notes how far it is
		"file": func() int64 {
			info, err := os.Stat(file + ".replay")
			if err != nil {
				return 0
			}
			return info.ModTime().UnixNano()
		},
		"stream": func() int64 {
			s, err := js.Stream(t.Context(), "killed")
			if err != nil {
				return 0
			}
			return int64(s.CachedInfo().State.LastSeq)
		},
	}
	for name, to := range map[string]string{"file": "--to-file=" + file, "stream": "--to-stream=killed"} {
		p := &process{t: t, program: program, args: []string{"replay", to, "--name", "k", "--rate", "1000"}, environ: append(os.Environ(), "FSAGENT_NATS_URL="+srv.URL()), output: &output{}}
		for killed := 0; ; killed++ {
			if killed == 3 {
				p.args[len(p.args)-1] = "1000000" // enough
			}
			before, began := noted[name](), time.Now()
			p.start()
			ended := make(chan error, 1)
			go func() { ended <- p.cmd.Wait() }()
			var err error
			over := killed == 3
			if over {
				err = <-ended
			} else {
				until(t, "it has worked, or ended", func() bool {
					select {
					case err = <-ended:
						over = true
					default:
					}
					return over || time.Since(began) > time.Second && noted[name]() > before
				})
			}
			if !over {
				_ = p.cmd.Process.Kill()
				<-ended
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, &p.output.buf)
			}
			if killed < 2 {
				t.Errorf("%s: killed %d times only", name, killed)
			}
			break
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want.bytes()) {
		t.Errorf("the file has %d bytes, want %d, or other ones (%v)", len(got), len(want.bytes()), err)
	}
	if got := content(t, js, "killed"); !bytes.Equal(got, want.bytes()) {
		t.Errorf("the stream has %d bytes, want %d, or other ones", len(got), len(want.bytes()))
	}
}

// A replay leaves streams, bucket and consumers of the services as they were.
func TestReplayTouchesNothing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	stored(t, js, "05-load-80-calls", "01-single-pcmu")
	snapshot := func() string {
		var b strings.Builder
		for _, name := range []string{stream.Events, stream.Samples, stream.DeadLetter, stream.StateStream} {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %+v\n", name, s.CachedInfo().State)
			for c := range s.ListConsumers(t.Context()).Info() {
				if c.Config.Durable != "" {
					fmt.Fprintf(&b, "  %s %+v\n", c.Name, c.Delivered)
				}
			}
		}
		return b.String()
	}
	before := snapshot()
	for _, args := range [][]string{{}, {"--to-stream", "elsewhere"}, {"--to-file", filepath.Join(t.TempDir(), "x.ndjson")}, {"--compare", "--plc", "none"}} {
		var out, errs bytes.Buffer
		if code := command.Run(t.Context(), append([]string{"replay"}, args...), []string{"FSAGENT_NATS_URL=" + srv.URL()}, &out, &errs); code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, &errs)
		}
	}
	after := snapshot()
	consumers := func(s string) string { // ephemeral ones go by themselves
		var lines []string
		for line := range strings.Lines(s) {
			if i := strings.Index(line, " Consumers:"); i >= 0 {
				line = line[:i]
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "\n")
	}
	if consumers(before) != consumers(after) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
