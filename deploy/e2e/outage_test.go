package e2e

import (
	"testing"
	"time"
)

// TestOutage: the Collector is away for a minute and a half, longer than gRPC's
// own pause between two attempts has grown to by then. Its first success must be
// within three seconds of its return.
func TestOutage(t *testing.T) {
	const outage, limit = 90 * time.Second, 3 * time.Second
	b := newBackend(t, "collector.yaml", "prometheus.yml")
	addr, _ := freeswitch(t, "--recordings", "05-load-80-calls", "--forever")
	s := newServices(t, addr, b.otlp)
	answered := func() float64 { return metric(s.metrics, `fsagent_export_requests_total{code="OK"}`) }
	until(t, time.Minute, "requests are answered", func() bool { return answered() > 0 })
	b.collector.kill()
	time.Sleep(outage)
	before := answered()
	b.collector.start() // and is ready, by what it says itself
	back := time.Now()
	until(t, time.Minute, "a request is answered", func() bool { return answered() > before })
	took := time.Since(back)
	t.Logf("first success %v after the Collector's return", took.Round(time.Millisecond))
	if took > limit {
		t.Errorf("first success %v after the Collector's return, want %v at most", took, limit)
	}
}
