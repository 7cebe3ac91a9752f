package engine

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/command"
)

// From a clean engine, "docker compose --profile demo up" shows the calls: the
// documented queries and those of the dashboard answer within two minutes, and the
// numbers are those of "fsagent demo".
func TestDemo(t *testing.T) {
	s := newStack(t)
	began := time.Now()
	s.compose("--profile", "demo", "build")
	t.Logf("images built in %v", time.Since(began).Round(time.Second))
	began = time.Now()
	s.compose("--profile", "demo", "up", "--detach")
	up := time.Since(began)
	queries := documentedQueries(t)
	// A slow machine has also taken its time to start the containers.
	limit := max(2*time.Minute, 4*up)
	for _, q := range queries {
		until(t, limit-time.Since(began), "Prometheus answers "+q, func() bool {
			all, err := s.ask(q, time.Now())
			return err == nil && len(all) > 0
		})
	}
	t.Logf("%d documented queries answer %v after docker compose up, which took %v", len(queries), time.Since(began).Round(time.Second), up.Round(time.Second))
	s.healthy("nats", "collector", "calculator", "exporter", "prometheus")
	onDashboard(t, s)
	alerts(t, s)

	want := demo(t)
	points := 0
	for _, p := range want {
		points += len(p)
	}
	var got map[string][]value
	until(t, 4*time.Minute, "Prometheus has the demo's "+strconv.Itoa(points)+" points", func() bool {
		got = map[string][]value{}
		n := 0
		for _, r := range s.stored() {
			name := key(r.Metric["__name__"], r.Metric)
			if _, ok := want[name]; !ok {
				continue // calls of a later round, or an account of which a label is another
			}
			for _, v := range r.Values {
				ms, x := sample(t, v)
				got[name] = append(got[name], value{ms * 1000, x})
				n++
			}
		}
		return n >= points
	})
	sameValues(t, got, want)
	t.Logf("%d points in %d series are those of fsagent demo", points, len(want))

	// People's commands, with the operator's key.
	for args, says := range map[string]string{
		"deadletter list": "",
		"limits":          "all limits are as configured",
		"check":           "are there, with the settings that fsagent needs",
	} {
		out, err := s.try(append([]string{"run", "--rm", "fsagent"}, strings.Fields(args)...)...)
		if !strings.Contains(out, says) || (err != nil && args != "check") {
			t.Errorf("docker compose run --rm fsagent %s: %v\n%s", args, err, out)
		}
	}
	backup(t, s)
}

// backup does what docs/operations.md says to back up and to restore.
func backup(t *testing.T, s *stack) {
	t.Helper()
	const events = `fsagent_stream_messages{stream="FSAGENT_EVENTS"}`
	s.compose("stop", "freeswitch-demo", "collector")
	before := s.containers("calculator")[0].metric(events)
	s.compose("stop")
	var saved, said bytes.Buffer
	save := s.command("run", "--rm", "--no-deps", "-T", "--entrypoint", "tar", "nats", "-C", "/data", "-czf", "-", ".")
	save.Stdout, save.Stderr = &saved, &said
	if err := save.Run(); err != nil {
		t.Fatalf("back up: %v\n%s", err, said.Bytes())
	}
	s.remove() // the machine is lost
	s.compose("up", "--no-log-prefix", "keys")
	load := s.command("run", "--rm", "--no-deps", "-T", "--entrypoint", "tar", "nats", "-C", "/data", "-xzf", "-")
	size := saved.Len()
	load.Stdin = &saved
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	s.compose("up", "--detach", "calculator")
	s.healthy("calculator")
	until(t, 2*time.Minute, "the events are there again", func() bool { return s.containers("calculator")[0].metric(events) >= before })
	t.Logf("%.0f events were backed up in %d bytes and restored", before, size)
}

// value of a series at a time.
type value struct {
	us int64
	x  float64
}

// demo runs fsagent demo, and returns what an OTLP endpoint gets from it.
func demo(t *testing.T) map[string][]value {
	t.Helper()
	receiver, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	var said strings.Builder
	environ := []string{"FSAGENT_OTEL_ENDPOINT=" + receiver.Addr(), "FSAGENT_OTEL_INSECURE=true"}
	if code := command.Run(t.Context(), []string{"demo", "--once", "--speed", "50"}, environ, &said, &said); code != 0 {
		t.Fatalf("fsagent demo: status %d\n%s", code, said.String())
	}
	out := map[string][]value{}
	for _, p := range otlptest.Unique(receiver.Points()) {
		labels := map[string]string{"job": "freeswitch"}
		for _, a := range p.Attributes {
			labels[a.Key] = a.Value
		}
		labels["instance"] = labels["fs_instance"]
		name := key(strings.ReplaceAll(p.Metric, ".", "_"), labels)
		out[name] = append(out[name], value{p.Time.UnixMicro(), p.Value})
	}
	return out
}

// key is a name with sorted labels.
func key(name string, labels map[string]string) string {
	var all []string
	for label, v := range labels {
		if label != "__name__" {
			all = append(all, label+"="+strconv.Quote(v))
		}
	}
	slices.Sort(all)
	return name + "{" + strings.Join(all, ",") + "}"
}

// sameValues compares series by series, in the order of time. The calls were played
// at other times, so the times count from the first of all values of the same
// FreeSWITCH; Prometheus keeps milliseconds.
func sameValues(t *testing.T, got, want map[string][]value) {
	t.Helper()
	instance := regexp.MustCompile(`fs_instance="([^"]*)"`)
	first := func(all map[string][]value) map[string]int64 {
		out := map[string]int64{}
		for name, values := range all {
			slices.SortFunc(values, func(a, b value) int { return int(a.us - b.us) })
			of := instance.FindString(name)
			if at, ok := out[of]; !ok || values[0].us < at {
				out[of] = values[0].us
			}
		}
		return out
	}
	wantFirst, gotFirst := first(want), first(got)
	wrong := 0
	for name, w := range want {
		g := got[name]
		same := len(g) == len(w)
		for i := 0; same && i < len(w); i++ {
			of := instance.FindString(name)
			late := (g[i].us - gotFirst[of]) - (w[i].us - wantFirst[of])
			same = g[i].x == w[i].x && math.Abs(float64(late)) <= 1000
		}
		if !same {
			if wrong++; wrong <= 3 {
				t.Errorf("%s: got %v, want %v", name, g, w)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d series differ", wrong, len(want))
	}
}

// documentedQueries are the PromQL blocks of the documentation.
func documentedQueries(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, page := range []string{"backends.md", "operations.md"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			for q := range strings.Lines(m[1]) {
				if q, _, _ = strings.Cut(q, "#"); strings.TrimSpace(q) != "" {
					out = append(out, strings.TrimSpace(q))
				}
			}
		}
	}
	if len(out) < 5 {
		t.Fatalf("only %d queries are documented", len(out))
	}
	return out
}

// onDashboard runs what the panels ask.
func onDashboard(t *testing.T, s *stack) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/grafana/dashboards/calls.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			asked++
			// A count of what there is none of is empty: legs must end first.
			until(t, 3*time.Minute, "panel "+p.Title+" has data: "+target.Expr, func() bool {
				all, err := s.ask(target.Expr, time.Now())
				return err == nil && len(all) > 0
			})
		}
	}
	if asked == 0 {
		t.Error("the dashboard asks nothing")
	}
	t.Logf("%d queries of the dashboard give data", asked)
}

// alerts: Prometheus has read the rules and evaluates them, and with all well none
// but that of bad calls is on.
func alerts(t *testing.T, s *stack) {
	t.Helper()
	count := 0
	until(t, 2*time.Minute, "no alert is on", func() bool {
		resp, err := http.Get(s.url + "/api/v1/rules?type=alert")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, State, Health, LastError string }
				}
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		count = 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "err" {
					t.Fatalf("alert %s: %s", r.Name, r.LastError)
				}
				if r.Health != "ok" || r.State != "inactive" && r.Name != "CallsSoundBad" {
					return false
				}
				count++
			}
		}
		return count > 0
	})
	t.Logf("%d alerts are evaluated", count)
}
