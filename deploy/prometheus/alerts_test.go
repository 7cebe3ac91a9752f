// Package prometheus tests what Prometheus is given with Prometheus's own code.
package prometheus

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

const (
	alertsFile = "alerts.yml"
	interval   = 15 * time.Second // of scrapes and evaluations, as in prometheus.yml
)

// well is 20 minutes in which nothing is wrong, and each value is as near to what is
// wrong as it may be.
const well = `load 15s
up{job="collector",instance="a"} 1x80
up{job="calculator",instance="a"} 1x80
up{job="calculator",instance="b"} 0x80
up{job="exporter",instance="a"} 1x80
fsagent_fs_connections{fs_instance="fs-1",instance="a"} 1x80
fsagent_fs_connections{fs_instance="fs-1",instance="b"} 0x80
fsagent_partitions_owned{instance="a"} 16x80
fsagent_events_dropped_total{fs_instance="fs-1",reason="buffer_full"} 0x80
fsagent_event_gaps_total{reason="events",instance="a"} 0x80
fsagent_events_behind{partition="0",instance="a"} 50000x80
fsagent_export_lag_seconds{instance="a"} 60x80
fsagent_export_parked_total{reason="refused"} 0x80
freeswitch_qos_mos_score{channel_id="1"} 4.3x80
freeswitch_qos_mos_score{channel_id="2"} 3.6x80
freeswitch_qos_mos_score{channel_id="3"} 4.3x80
freeswitch_qos_mos_score{channel_id="4"} 4.3x80
freeswitch_qos_mos_score{channel_id="5"} 3.5x80
`

// ill is the same until the fifth minute; from then on everything is wrong, and no
// more than it takes.
const ill = `load 15s
up{job="collector",instance="a"} 1x80
up{job="calculator",instance="a"} 1x19 0x60
up{job="exporter",instance="a"} 1x19 stale
fsagent_fs_connections{fs_instance="fs-1",instance="a"} 1x19 0x60
fsagent_fs_connections{fs_instance="fs-1",instance="b"} 0x80
fsagent_fs_connections{fs_instance="fs-2",instance="a"} 1x80
fsagent_partitions_owned{instance="a"} 8x80
fsagent_partitions_owned{instance="b"} 8x19 7x60
fsagent_events_dropped_total{fs_instance="fs-1",reason="buffer_full"} 0x19 0+100x60
fsagent_event_gaps_total{reason="events",instance="a"} 0x80
fsagent_event_gaps_total{reason="events",instance="b"} _x20 1x60
fsagent_events_behind{partition="0",instance="a"} 0x19 30000x60
fsagent_events_behind{partition="0",instance="b"} 0x19 29000x60
fsagent_events_behind{partition="1",instance="b"} 0x19 20001x60
fsagent_export_lag_seconds{instance="a"} 0x19 61x60
fsagent_export_lag_seconds{instance="b"} 0x80
fsagent_export_parked_total{reason="refused"} _x20 1x60
freeswitch_qos_mos_score{channel_id="1"} 4.3x80
freeswitch_qos_mos_score{channel_id="2"} 4.3x80
freeswitch_qos_mos_score{channel_id="3"} 4.3x80
freeswitch_qos_mos_score{channel_id="4"} 4.3x19 3.5x60
`

// TestAlerts has Prometheus evaluate deploy/prometheus/alerts.yml over both: each
// alert comes when it should and says what it should.
func TestAlerts(t *testing.T) {
	for name, on := range watch(t, well) {
		t.Errorf("all is well, and %s is on after %v: %v", name, on.after, on.says)
	}
	type expected struct {
		least, most time.Duration // after the beginning
		says        []string
	}
	want := map[string]expected{
		"FreeSwitchNotConnected":      {7 * time.Minute, 8 * time.Minute, []string{"No collector is connected to FreeSWITCH fs-1; its /health says why."}},
		"ServiceGone":                 {6 * time.Minute, 7 * time.Minute, []string{"No calculator answers.", "No exporter answers."}},
		"PartitionsWithoutCalculator": {6 * time.Minute, 7 * time.Minute, []string{"15 of 16 partitions (FSAGENT_PARTITIONS) have a calculator."}},
		"EventsDropped":               {5 * time.Minute, 6 * time.Minute, []string{"About 2000 events of fs-1 were dropped: buffer_full."}},
		"EventsLost":                  {5 * time.Minute, 6 * time.Minute, []string{"Calculators miss something, and said what in their log: events (events: removed from the stream unread; stream: made anew; state: missing in the bucket)."}},
		"CalculatorsBehind":           {10 * time.Minute, 11 * time.Minute, []string{"50001 events wait for the calculators; start more of them."}},
		"ExportBehind":                {10 * time.Minute, 11 * time.Minute, []string{"The oldest sample not exported is 61 s old. Samples wait 6 h (FSAGENT_SAMPLES_MAX_AGE)."}},
		"SamplesParked":               {5 * time.Minute, 6 * time.Minute, []string{"Samples were parked: refused. See fsagent deadletter list."}},
		"CallsSoundBad":               {15 * time.Minute, 16 * time.Minute, []string{"25% of the legs that ended in the last 15 minutes have a MOS under 3.6."}},
	}
	got := watch(t, ill)
	for name, w := range want {
		on, ok := got[name]
		switch {
		case !ok:
			t.Errorf("%s does not come", name)
		case on.after < w.least || on.after > w.most:
			t.Errorf("%s comes after %v, want %v to %v", name, on.after, w.least, w.most)
		case !slices.Equal(on.says, w.says):
			t.Errorf("%s says %q, want %q", name, on.says, w.says)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is on, and this test does not know it", name)
	}
}

// firing is an alert that has come.
type firing struct {
	after time.Duration
	says  []string // at the end of the time, or last, sorted
}

// watch evaluates the rules over series for as long as they go, and returns those
// that were ever on.
func watch(t *testing.T, series string) map[string]firing {
	t.Helper()
	storage := promqltest.LoadedStorage(t, series)
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 100_000)
	m := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(engine, storage), Queryable: storage, AppendableV2: storage,
		NotifyFunc: func(ctx context.Context, _ string, _ ...*rules.Alert) {},
	})
	groups, errs := m.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, alertsFile)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	out := map[string]firing{}
	for after := time.Duration(0); after < 20*time.Minute; after += interval {
		for _, g := range groups {
			g.Eval(t.Context(), time.Unix(0, 0).Add(after))
			for _, r := range g.AlertingRules() {
				if err := r.LastError(); err != nil {
					t.Fatalf("%s: %v", r.Name(), err)
				}
				says := map[string]bool{}
				for _, a := range r.ActiveAlerts() {
					if a.State == rules.StateFiring {
						says[a.Annotations.Get("summary")] = true
					}
				}
				if len(says) == 0 {
					continue
				}
				on, ok := out[r.Name()]
				if !ok {
					on.after = after
				}
				on.says = slices.Sorted(maps.Keys(says))
				out[r.Name()] = on
			}
		}
	}
	return out
}
