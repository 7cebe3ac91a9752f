package exporter_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// TestMetrics compares every number that is counted after a run with one
// retry, one rejected and one parked point.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reg := prometheus.NewRegistry()
	e, err := exporter.New(r.cfg, r.js, natstest.Logger(t), reg)
	if err != nil {
		t.Fatal(err)
	}
	run := r.run(e)
	r.sink.Script(otlptest.Refuse(codes.Unavailable, "full"), otlptest.Partial(1, "one"))
	future := jitter("fs-1", 1, 1)
	future.SetTimeUs(0)
	r.publish(0, append(reports(10), future)...)
	r.settledAfter(1, run)
	run.stop()

	got := gather(t, reg)
	for name, want := range map[string]float64{
		"fsagent_export_points_total{result=accepted}":    9,
		"fsagent_export_points_total{result=rejected}":    1,
		"fsagent_export_points_total{result=parked}":      0,
		"fsagent_export_requests_total{code=OK}":          1,
		"fsagent_export_requests_total{code=Unavailable}": 1,
		"fsagent_export_parked_total{reason=time}":        1,
		"fsagent_export_redelivered_total":                0,
		"fsagent_export_lag_seconds":                      0,
		"fsagent_export_held_messages":                    0,
		"fsagent_export_pending_messages":                 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: got %v (%v), want %v", name, v, ok, want)
		}
	}
	if s := e.Stats(); s.Retries != 1 || s.Parked != 1 || s.PointsAccepted != 9 || s.PointsRejected != 1 {
		t.Errorf("stats: got %+v", s)
	}
	if _, err := exporter.New(r.cfg, r.js, natstest.Logger(t), reg); err == nil {
		t.Error("a second exporter with the same registry: got no error")
	}
}

// gather returns every metric by its name and labels.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var name strings.Builder
			name.WriteString(f.GetName())
			for _, l := range m.GetLabel() {
				name.WriteString("{" + l.GetName() + "=" + l.GetValue() + "}")
			}
			got[name.String()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

func TestHealth(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	r.settledAfter(1, e)
	text := func() string {
		b, err := json.Marshal(e.Health())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := text(); !strings.Contains(got, `"status":"ok"`) || !strings.Contains(got, `"last_up"`) {
		t.Errorf("health: got %s", got)
	}
	r.sink.Always(otlptest.Refuse(codes.Unavailable, "full"))
	r.publish(0, jitter("fs-1", 1, 2))
	eventually(t, "degraded", func() bool {
		got := text()
		return strings.Contains(got, `"status":"degraded"`) && strings.Contains(got, "full") && strings.Contains(got, `"held_messages":1`)
	})
}
