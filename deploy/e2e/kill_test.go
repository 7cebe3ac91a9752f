package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// services are those of the pipeline as processes of their own, with a NATS
// server between them.
type services struct {
	exporter, exporter2 *process
	metrics             string // URL of the first exporter's
}

func newServices(t *testing.T, switchboard, otlp string, environ ...string) *services {
	t.Helper()
	nats := address(t)
	host, port, _ := strings.Cut(nats, ":")
	start(t, "nats-server", []string{"-a", host, "-p", port, "-js", "-sd", t.TempDir()}, nil, listens(nats))
	common := append(settings(t, switchboard, otlp), append(environ, "FSAGENT_NATS_URL=nats://"+nats)...)
	web := address(t)
	host, port, _ = strings.Cut(web, ":")
	s := &services{metrics: "http://" + web + "/metrics"}
	start(t, "calculator", nil, common, nil)
	s.exporter = start(t, "exporter", nil, append(slices.Clone(common), "FSAGENT_HTTP_HOST="+host, "FSAGENT_HTTP_PORT="+port), nil)
	s.exporter2 = start(t, "exporter", nil, common, nil)
	start(t, "collector", nil, common, nil)
	return s
}

// metric returns one line of a page of metrics; 0 if it is not there.
func metric(url, name string) float64 {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				return 0
			}
			return v
		}
	}
	return 0
}

// TestKill: while calls run, exporters, Collector and Prometheus are killed with
// SIGKILL in different orders. In the end Prometheus has every sample once, with
// its value, and the Collector was never told two values for one time.
func TestKill(t *testing.T) {
	const recording = "05-load-80-calls"
	b := newBackend(t, "collector.yaml", "prometheus.yml")
	want := golden(t, recording)
	addr, _ := freeswitch(t, "--recordings", recording, "--speed", "4") // half a minute
	s := newServices(t, addr, b.otlp, "FSAGENT_OTEL_ACK_WAIT=2s", "FSAGENT_OTEL_TIMEOUT=2s")
	until(t, time.Minute, "the first samples", func() bool { return len(b.stored("freeswitch_.+")) > 100 })
	for _, order := range [][]*process{
		{s.exporter, b.collector}, {b.collector, s.exporter}, {s.exporter, s.exporter2}, {b.collector}, {s.exporter2},
		{b.prometheus, b.collector}, {b.collector, s.exporter, s.exporter2}, {s.exporter, s.exporter2, b.collector, b.prometheus},
	} {
		for _, p := range order {
			p.kill()
			time.Sleep(300 * time.Millisecond) // calls go on meanwhile
		}
		for _, p := range order {
			p.start()
		}
		time.Sleep(700 * time.Millisecond)
	}
	for range 3 { // requests that the Collector reads when their senders are gone
		b.collector.signal(syscall.SIGSTOP)
		time.Sleep(500 * time.Millisecond)
		s.exporter.kill()
		s.exporter2.kill()
		b.collector.signal(syscall.SIGCONT)
		s.exporter.start()
		s.exporter2.start()
		time.Sleep(time.Second)
	}
	b.waitFor(len(want))
	compare(t, b.stored("freeswitch_.+"), want)
	points, twice, conflicts := accepted(t, filepath.Join(b.dir, "metrics.jsonl"))
	t.Logf("the Collector was told %d points, %d of them more than once", points, twice)
	if conflicts > 0 {
		t.Errorf("the Collector was told %d points with two values", conflicts)
	}
}

// accepted counts what the Collector took, by the file that it writes: different
// points, those that came again, and those that came with another value.
func accepted(t *testing.T, path string) (points, twice, conflicts int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	type dataPoint struct {
		Time       string          `json:"timeUnixNano"`
		Attributes json.RawMessage `json:"attributes"`
		Double     *float64        `json:"asDouble"`
		Int        string          `json:"asInt"`
	}
	type request struct {
		ResourceMetrics []struct {
			ScopeMetrics []struct {
				Metrics []struct {
					Name  string                           `json:"name"`
					Gauge struct{ DataPoints []dataPoint } `json:"gauge"`
				} `json:"metrics"`
			} `json:"scopeMetrics"`
		} `json:"resourceMetrics"`
	}
	seen := map[string]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r request
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // cut off by kill -9
		}
		for _, rm := range r.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					for _, p := range m.Gauge.DataPoints {
						id, value := m.Name+string(p.Attributes)+p.Time, p.Int
						if p.Double != nil {
							value = strconv.FormatFloat(*p.Double, 'g', -1, 64)
						}
						old, again := seen[id]
						if again {
							twice++
						}
						if again && old != value {
							conflicts++
						}
						seen[id] = value
					}
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return len(seen), twice, conflicts
}
