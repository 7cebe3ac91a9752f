package fsagent_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write the golden files anew")

const instance = "fs-1"

// ever is far enough ahead for recordings on a machine whose clock is behind.
const ever = 365 * 24 * time.Hour

// switchboard is a simulated FreeSWITCH and the receiver at the other end.
type switchboard struct {
	server   *esltest.Server
	receiver *otlptest.Receiver
}

// newSwitchboard is the FreeSWITCH process of a recording from the start: a snapshot
// of another one, taken before the recording is played and published amid it, would
// say that this one has taken its place. Without a name it is one of its own.
func newSwitchboard(t *testing.T, name string) switchboard {
	t.Helper()
	var cfg esltest.Config
	if name != "" {
		r, err := recording.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		id, err := event.Scan(r.Events()[0])
		if err != nil {
			t.Fatal(err)
		}
		cfg.CoreUUID = string(id.CoreUUID)
	}
	server, err := esltest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	receiver, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(receiver.Close)
	return switchboard{server, receiver}
}

func (b switchboard) config(t *testing.T) fsagent.Config {
	t.Helper()
	cfg := fsagent.DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.HTTP.Port = 0
	cfg.Collector.Instances = collector.Instances{{Name: instance, Host: "127.0.0.1", Port: b.server.Addr().Port, Password: esltest.DefaultPassword}}
	cfg.Collector.ESL.SnapshotDelay = time.Millisecond // amid the events
	cfg.OpenTelemetry.Endpoint = b.receiver.Addr()
	cfg.OpenTelemetry.Insecure = new(true)
	cfg.OpenTelemetry.MaxFuture = ever
	return cfg
}

// pipe plays a recording through a pipeline of its own, in a data directory of
// its own. It returns the points received and the samples, encoded, by partition.
func pipe(t *testing.T, name string, then ...func(*nats.Conn, [][]byte)) (points []otlptest.Point, samples [][]byte) {
	t.Helper()
	b := newSwitchboard(t, name)
	cfg := b.config(t)
	p, err := fsagent.Open(t.Context(), cfg, natstest.Logger(t), service.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()

	sent := play(t, b.server, name, esltest.AsFast)
	until(t, "everything is exported", func() bool {
		col, cal, exp := p.Collector.Stats(), p.Calculator.Stats(), p.Exporter.Stats()
		rejected := uint64(0)
		for _, n := range cal.Rejected {
			rejected += n
		}
		return col.Published == sent() && cal.Stepped+rejected == col.Published+col.Made && exp.Samples == cal.Reports+cal.LegEnds && exp.Held == 0
	})
	samples = read(t, p.NATS, cfg.Storage.Partitions)
	for _, f := range then {
		f(p.NATS, samples)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	return b.receiver.Points(), samples
}

// play plays a recording and returns what tells how many events were sent.
func play(t *testing.T, server *esltest.Server, name string, speed float64) (sent func() uint64) {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Play(t.Context(), esltest.Playback{Recordings: []*recording.Recording{r}, Speed: speed, Clients: 1}); err != nil {
		t.Fatal(err)
	}
	return func() (n uint64) {
		for _, c := range server.Stats().Clients {
			n += c.Events
		}
		return n
	}
}

// read returns the samples of each partition, one after the other.
func read(t *testing.T, nc *nats.Conn, partitions int) [][]byte {
	t.Helper()
	out := make([][]byte, partitions)
	for _, m := range batches(t, nc) {
		p, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil {
			t.Fatal(err)
		}
		samples, err := sample.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if out[p], err = sample.Append(out[p], s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// difference tells where two lists of samples part.
func difference(t *testing.T, a, b []byte) string {
	t.Helper()
	first, err := sample.Decode(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := sample.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range min(len(first), len(second)) {
		if !proto.Equal(first[i], second[i]) {
			return fmt.Sprintf("sample %d of %d and %d:\n%v\n%v", i, len(first), len(second), first[i], second[i])
		}
	}
	return fmt.Sprintf("%d samples and %d", len(first), len(second))
}

func batches(t *testing.T, nc *nats.Conn) []*jetstream.RawStreamMsg {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), stream.Samples)
	if err != nil {
		t.Fatal(err)
	}
	var out []*jetstream.RawStreamMsg
	info := s.CachedInfo()
	for seq := max(info.State.FirstSeq, 1); seq <= info.State.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, msg)
	}
	return out
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// The points of every recording are as in the golden files, value by value and
// time by time; a replay and a second run in a fresh data directory make the same
// samples, byte for byte.
func TestRecordings(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points, first := pipe(t, name, func(nc *nats.Conn, live [][]byte) { sameAsLive(t, nc, live) })
			golden(t, name, points)
			_, second := pipe(t, name)
			for p := range first {
				if !bytes.Equal(first[p], second[p]) {
					t.Errorf("partition %d: two runs made different samples: %s", p, difference(t, first[p], second[p]))
				}
			}
		})
	}
}

// golden compares points with testdata/<name>.txt.gz; -update writes it.
func golden(t *testing.T, name string, points []otlptest.Point) {
	t.Helper()
	got := otlptest.Text(otlptest.Unique(points))
	path := filepath.Join("testdata", name+".txt.gz")
	if *update {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(z, got); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Split(unzip(t, path), "\n")
	lines := strings.Split(got, "\n")
	if slices.Equal(lines, want) {
		return
	}
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || lines[i] != want[i] {
			t.Fatalf("%d points, want %d; line %d differs:\n got %s\nwant %s", len(lines)-1, len(want)-1, i+1, at(lines, i), at(want, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

func unzip(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
