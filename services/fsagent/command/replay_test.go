package command_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/command"
)

// TestReplay is not parallel: it has a working directory of its own.
func TestReplay(t *testing.T) {
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	r, err := recording.Load("03a-loss5-jitter30-pcmu")
	if err != nil {
		t.Fatal(err)
	}
	var channel string
	for _, raw := range r.Events() {
		id, err := event.Scan(raw)
		if err != nil || len(id.UniqueID) == 0 {
			continue
		}
		channel = string(id.UniqueID)
		if _, err := js.Publish(t.Context(), stream.EventSubject(stream.Partition(id.UniqueID, stream.DefaultPartitions), "pbx", id.Name), raw); err != nil {
			t.Fatal(err)
		}
	}
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	t.Chdir(t.TempDir())
	run := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := command.Run(t.Context(), append([]string{"replay"}, args...), []string{"FSAGENT_NATS_URL=" + srv.URL()}, &out, &errs); got != code {
			t.Errorf("%v: exit code %d, want %d: %s", args, got, code, &errs)
		}
		return out.String(), errs.String()
	}
	if out, _ := run(0, "--channel", channel); !strings.Contains(out, channel) || !strings.HasSuffix(out, "1 legs, 0 of them not ended\n") {
		t.Errorf("table: got %s", out)
	}
	if out, _ := run(0, "--instance", "other"); out != "0 legs, 0 of them not ended\n" {
		t.Errorf("table of a server without events: got %s", out)
	}
	if out, _ := run(0, "--compare", "--set", "bad.jitter=50ms", "--mos-model", "provisional", "--json"); !strings.Contains(out, `"legs": `) {
		t.Errorf("comparison: got %s", out)
	}
	run(0, "--to-file", "a.ndjson", "--domain", "nowhere")
	run(1, "--to-file", "a.ndjson")
	run(0, "--to-file", "b.ndjson")
	run(0, "--to-file", "c.ndjson", "--name", "n", "--rate", "auto")
	b, err := os.ReadFile("b.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := os.ReadFile("c.ndjson"); err != nil || !bytes.Equal(b, c) || len(b) == 0 {
		t.Errorf("two files of the same range differ (%v)", err)
	}
	if left, _ := filepath.Glob("*.replay*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	run(0, "--to-otlp", "http://"+sink.Addr(), "--name", "monday")
	points := sink.Points()
	for _, p := range points {
		if p.Attributes.Get("replay") != "monday" {
			t.Fatalf("a point without the label: %v", p)
		}
	}
	if len(points) == 0 || len(otlptest.Conflicts(points)) > 0 {
		t.Errorf("%d points", len(points))
	}
	for _, wrong := range [][]string{
		{"x"}, {"--from", "x"}, {"--to", "0"}, {"--warm-up", "x"}, {"--rate", "0"}, {"--rate", "x"}, {"--format", "xml"}, {"--mos-model", "x"}, {"--plc", "G729"},
		{"--correlation", "x"}, {"--set", "x"}, {"--set", "x=1"}, {"--set", "mos.x=1"}, {"--bad-mos", "9"}, {"--to-file", "x", "--to-stream", "y"},
		{"--to-stream", "FSAGENT_SAMPLES"}, {"--to-stream", "fsagent_events"}, {"--name", "a b", "--to-file", "x"}, {"--name", "n"}, {"--json"}, {"--compare"},
	} {
		if _, errs := run(2, wrong...); strings.Count(errs, "\n") != 1 && !strings.Contains(errs, "Flags:") {
			t.Errorf("%v: more than one line: %s", wrong, errs)
		}
	}
	if _, errs := run(1, "--from", "2126-01-01T00:00:00Z"); !strings.Contains(errs, "has the events 1 to") {
		t.Errorf("got %s", errs)
	}
	if _, errs := run(1, "--stream", "NOWHERE"); !strings.Contains(errs, "NOWHERE is not there") {
		t.Errorf("got %s", errs)
	}
	if _, errs := run(1, "--stream", "FSAGENT_SAMPLES", "--to-stream", "z"); errs == "" {
		t.Error("a stream that has no events is accepted")
	}
}
