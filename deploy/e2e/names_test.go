package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// documented are the names that docs/metrics.md promises.
var documented = []string{"freeswitch_rtcp_jitter", "freeswitch_rtcp_packets_lost", "freeswitch_qos_mos_score"}

// TestEverySample plays recordings; Prometheus then has every point of the golden
// files under the documented names, each once, with its time and value.
func TestEverySample(t *testing.T) {
	for _, recording := range []string{"02-bridged-pcmu", "03a-loss5-jitter30-pcmu", "05-load-80-calls", "06a-hold"} {
		t.Run(recording, func(t *testing.T) {
			b := newBackend(t, "collector.yaml", "prometheus.yml")
			want := golden(t, recording)
			allInOne(t, b.otlp, recording)
			b.waitFor(len(want))
			compare(t, b.stored("freeswitch_.+"), want)
			for _, name := range documented {
				if _, ok := b.value("count(last_over_time("+name+"[1h]))", time.Time{}); !ok {
					t.Errorf("Prometheus has no %s", name)
				}
			}
		})
	}
}

// TestTranslation: what the names are without the recommended strategy, and that
// units: none gives the documented ones also then.
func TestTranslation(t *testing.T) {
	const recording = "02-bridged-pcmu"
	for _, tt := range []struct {
		units      string
		there, not string
	}{
		{"ucum", "freeswitch_rtcp_jitter_milliseconds", "freeswitch_rtcp_jitter"},
		{"none", "freeswitch_rtcp_jitter", "freeswitch_rtcp_jitter_milliseconds"},
	} {
		t.Run("units "+tt.units, func(t *testing.T) {
			b := newBackend(t, "collector.yaml", "prometheus-default.yml")
			allInOne(t, b.otlp, recording, "FSAGENT_OTEL_UNITS="+tt.units)
			// They may come in two requests.
			for _, name := range []string{"freeswitch_qos_mos_score", tt.there} {
				until(t, time.Minute, "Prometheus has "+name, func() bool {
					_, ok := b.value("count(last_over_time("+name+"[1h]))", time.Time{})
					return ok
				})
			}
			if _, ok := b.value("count(last_over_time("+tt.not+"[1h]))", time.Time{}); ok {
				t.Errorf("Prometheus has %s", tt.not)
			}
			if tt.units != "none" {
				return
			}
			for _, name := range documented {
				if _, ok := b.value("count(last_over_time("+name+"[1h]))", time.Time{}); !ok {
					t.Errorf("Prometheus has no %s", name)
				}
			}
		})
	}
}

// TestPage: the Collector's own page for scraping has the documented names too.
func TestPage(t *testing.T) {
	b := newBackend(t, "collector.yaml", "prometheus.yml")
	allInOne(t, b.otlp, "02-bridged-pcmu")
	for _, name := range documented {
		until(t, time.Minute, "the page has "+name, func() bool {
			resp, err := http.Get(b.page)
			if err != nil {
				return false
			}
			defer func() { _ = resp.Body.Close() }()
			text, err := io.ReadAll(resp.Body)
			return err == nil && strings.Contains(string(text), "\n"+name+"{")
		})
	}
}
