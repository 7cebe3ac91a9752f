package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestOutOfOrderWindow: a batch that comes twice and brings newer points of the
// same series, as every outage makes them. Without a window the request is refused
// as a whole, and the newer points are lost with it.
func TestOutOfOrderWindow(t *testing.T) {
	first := time.Now().Add(-time.Minute).UnixMilli()
	batch := map[int64]float64{first: 1, first + 1000: 2}
	again := map[int64]float64{first: 1, first + 1000: 2, first + 2000: 3}
	for _, tt := range []struct {
		file   string
		code   int
		stored int
	}{
		{"prometheus-default.yml", http.StatusBadRequest, 2},
		{"prometheus.yml", http.StatusOK, 3},
	} {
		t.Run(tt.file, func(t *testing.T) {
			b := newBackend(t, "collector.yaml", tt.file)
			if code := b.push(batch); code != http.StatusOK {
				t.Fatalf("first batch: got status %d, want 200", code)
			}
			if code := b.push(again); code != tt.code {
				t.Errorf("the batch again with a newer point: got status %d, want %d", code, tt.code)
			}
			if got := len(b.stored("probe")); got != tt.stored {
				t.Errorf("samples stored: got %d, want %d", got, tt.stored)
			}
		})
	}
}

// TestQueue: what the Collector has accepted survives kill -9 while Prometheus is
// away, if its queue is on disk; from memory nothing arrives.
func TestQueue(t *testing.T) {
	const recording = "02-bridged-pcmu"
	for _, tt := range []struct {
		file string
		kept bool
	}{
		{"collector.yaml", true},
		{"collector-memory.yaml", false},
		{"collector-batch.yaml", false},
	} {
		t.Run(tt.file, func(t *testing.T) {
			b := newBackend(t, tt.file, "prometheus.yml")
			want := golden(t, recording)
			b.prometheus.kill()
			web := address(t)
			host, port, _ := strings.Cut(web, ":")
			pipeline := allInOne(t, b.otlp, recording, "FSAGENT_HTTP_HOST="+host, "FSAGENT_HTTP_PORT="+port)
			until(t, time.Minute, "the Collector has accepted everything", func() bool {
				return metric("http://"+web+"/metrics", `fsagent_export_points_total{result="accepted"}`) >= float64(len(want))
			})
			pipeline.kill()
			b.collector.kill()
			b.prometheus.start()
			b.collector.start()
			if tt.kept {
				b.waitFor(len(want))
				compare(t, b.stored("freeswitch_.+"), want)
				return
			}
			// What the memory held is nowhere: a point that is sent now is alone.
			if code := b.push(map[int64]float64{time.Now().UnixMilli(): 1}); code != http.StatusOK {
				t.Fatalf("probe: got status %d, want 200", code)
			}
			if got := len(b.stored("freeswitch_.+|probe")); got != 1 {
				t.Errorf("got %d samples, want the probe alone", got)
			}
		})
	}
}

// TestLostPackets: over the gauge of increments, sum_over_time is the number of
// packets lost; rate, which takes it for a counter, is not.
func TestLostPackets(t *testing.T) {
	const recording = "03a-loss5-jitter30-pcmu"
	b := newBackend(t, "collector.yaml", "prometheus.yml")
	all := golden(t, recording)
	truth := 0.0
	for _, s := range all {
		if strings.HasPrefix(s.series, "freeswitch_rtcp_packets_lost{") {
			truth += s.value
		}
	}
	if truth == 0 {
		t.Fatal("the recording has no loss")
	}
	allInOne(t, b.otlp, recording)
	b.waitFor(len(all))
	got, _ := b.value("sum(sum_over_time(freeswitch_rtcp_packets_lost[1h]))", time.Time{})
	if got != truth {
		t.Errorf("sum_over_time: got %v packets, want %v", got, truth)
	}
	wrong, _ := b.value("sum(3600 * rate(freeswitch_rtcp_packets_lost[1h]))", time.Time{})
	if wrong == truth {
		t.Errorf("rate: got %v as well; docs/backends.md says that it is wrong", wrong)
	}
	t.Logf("%v packets lost; rate says %.1f", truth, wrong)
}

// TestCumulative: with packets_lost: cumulative the name stays under the
// recommended strategy, and the sum of the last values is the loss.
func TestCumulative(t *testing.T) {
	const recording = "03a-loss5-jitter30-pcmu"
	b := newBackend(t, "collector.yaml", "prometheus.yml")
	allInOne(t, b.otlp, recording, "FSAGENT_OTEL_PACKETS_LOST=cumulative")
	truth := 0.0
	for _, s := range golden(t, recording) {
		if strings.HasPrefix(s.series, "freeswitch_rtcp_packets_lost{") {
			truth += s.value
		}
	}
	got := 0.0
	until(t, time.Minute, "the sums are there", func() bool {
		got, _ = b.value("sum(max_over_time(freeswitch_rtcp_packets_lost[1h]))", time.Time{})
		return got >= truth
	})
	if got != truth {
		t.Errorf("got %v packets, want %v", got, truth)
	}
}

// TestMarkers: without markers the last report of a leg is shown for five minutes
// after it, with them for a millisecond.
func TestMarkers(t *testing.T) {
	const recording = "02-bridged-pcmu"
	for _, markers := range []string{"false", "true"} {
		t.Run("end_of_leg_markers "+markers, func(t *testing.T) {
			b := newBackend(t, "collector.yaml", "prometheus.yml")
			want := golden(t, recording)
			allInOne(t, b.otlp, recording, "FSAGENT_OTEL_END_OF_LEG_MARKERS="+markers)
			b.waitFor(len(want))
			got := b.stored("freeswitch_.+")
			compare(t, got, want)
			var last int64
			for _, s := range got {
				last = max(last, s.ms)
			}
			after := time.UnixMilli(last).Add(10 * time.Second)
			shown := func() float64 {
				n, _ := b.value("count(freeswitch_rtcp_jitter)", after)
				return n
			}
			if markers == "true" {
				until(t, time.Minute, "the markers have arrived", func() bool { return shown() == 0 })
			} else if shown() == 0 {
				t.Error("ten seconds after the call no jitter is shown; docs/backends.md says five minutes")
			}
			if n, _ := b.value("count(freeswitch_qos_mos_score)", after); n == 0 {
				t.Error("ten seconds after the call its MOS is not shown")
			}
		})
	}
}
