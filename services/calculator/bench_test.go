package calculator_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/calculator"
)

// BenchmarkBacklog works off a stream of recorded calls, with the server in the
// same process; go tool task measure has it in processes of their own.
func BenchmarkBacklog(b *testing.B) {
	events := load(b, "05-load-80-calls", "02-bridged-pcmu", "03a-loss5-jitter30-pcmu")
	for b.Loop() {
		b.StopTimer()
		s := natstest.Start(b)
		settings := stream.DefaultSettings()
		js := s.JetStream(settings)
		publish(b, js, events, settings.Partitions)
		want := len(expected(events, settings.Partitions))
		b.StartTimer()
		r := start(b, s, settings, calculator.DefaultConfig())
		until(b, "all samples are made", func() bool { return int(r.Stats().Reports+r.Stats().LegEnds) == want })
		b.StopTimer()
		r.end(b)
		b.StartTimer()
	}
	b.ReportMetric(float64(len(events)*b.N)/b.Elapsed().Seconds(), "events/s")
}
