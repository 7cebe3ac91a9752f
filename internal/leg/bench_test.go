package leg_test

import (
	"bytes"
	"fmt"
	"runtime"
	"syscall"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
)

// reports makes a stream of RTCP events of many legs, as they come: two
// directions every five seconds.
func reports(legs, rounds int) [][]byte {
	out := make([][]byte, 0, legs*rounds*2)
	for round := range rounds {
		for l := range legs {
			channel := fmt.Sprintf("%08d-955b-4c2f-a6fc-23010ebc8a97", l)
			seq := (round*legs + l) * 2
			out = append(out, send(channel, seq+1, 5*round, 1000+250*round, 1), recv(channel, seq+2, 5*round, 1000+250*round, 1))
		}
	}
	return out
}

func BenchmarkApplyReport(b *testing.B) {
	for _, legs := range []int{100, 5000} {
		b.Run(fmt.Sprintf("%d_legs", legs), func(b *testing.B) {
			events := reports(legs, 40_000/legs)
			b.ReportAllocs()
			b.ResetTimer()
			var table *leg.Table
			before := cpu()
			for i := range b.N {
				if i%len(events) == 0 {
					b.StopTimer()
					table = loaded(legs)
					b.StartTimer()
				}
				table.Apply(uint64(i+1), "pbx", events[i%len(events)], func(*fsagentv1.Sample) {})
			}
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is the time that this process has had of all CPUs: what a busy machine
// does besides is not in it, but the garbage collector is.
func cpu() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// loaded makes a table with legs that were answered.
func loaded(legs int) *leg.Table {
	table := leg.NewTable(leg.DefaultParams())
	for l := range legs {
		channel := fmt.Sprintf("%08d-955b-4c2f-a6fc-23010ebc8a97", l)
		table.Apply(1, "pbx", made("CHANNEL_ANSWER", channel, 0, 0, "variable_rtp_use_codec_name: PCMU",
			"variable_rtp_use_codec_rate: 8000", "variable_sip_call_id: c4bfe4be-61cb-1240-c59b-a69685210d20"), nil)
	}
	return table
}

// BenchmarkApplyRecording steps events as FreeSWITCH sends them, unfiltered:
// all of 80 calls, and their reports alone (about 1 KB each).
func BenchmarkApplyRecording(b *testing.B) {
	all := events(b, "05-load-80-calls")
	var rtcp [][]byte
	for _, raw := range all {
		if bytes.HasPrefix(raw, []byte("Event-Name: RECV_RTCP")) || bytes.HasPrefix(raw, []byte("Event-Name: SEND_RTCP")) {
			rtcp = append(rtcp, raw)
		}
	}
	for name, events := range map[string][][]byte{"all": all, "rtcp": rtcp} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table := leg.NewTable(leg.DefaultParams())
				for i, raw := range events {
					table.Apply(uint64(i+1), "pbx", raw, func(*fsagentv1.Sample) {})
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

func BenchmarkChanges(b *testing.B) {
	table := loaded(1000)
	for _, raw := range reports(1000, 3) {
		table.Apply(2, "pbx", raw, func(*fsagentv1.Sample) {})
	}
	changes := table.Changes()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		t := leg.NewTable(leg.DefaultParams())
		for _, c := range changes {
			if _, err := t.LoadLeg(c.State); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(changes)), "ns/leg-load")
}

// TestMemory: a live leg in mid-call takes at most 2 KiB, and twenty thousand
// ended ones leave nothing behind.
func TestMemory(t *testing.T) {
	const legs = 5000
	before := heap()
	table := loaded(legs)
	for _, raw := range reports(legs, 3) {
		table.Apply(2, "pbx", raw, func(*fsagentv1.Sample) {})
	}
	table.Changes()
	per := (heap() - before) / legs
	t.Logf("%d bytes a live leg", per)
	if per > 2048 {
		t.Errorf("got %d bytes a live leg, want at most 2048", per)
	}
	runtime.KeepAlive(table)
	table = leg.NewTable(leg.DefaultParams())
	before = heap()
	for i := range 20_000 {
		channel := fmt.Sprintf("u%d", i)
		table.Apply(uint64(i), "pbx", made("CHANNEL_CREATE", channel, 3*i, i), nil)
		table.Apply(uint64(i), "pbx", made("CHANNEL_HANGUP_COMPLETE", channel, 3*i+1, i+1), func(*fsagentv1.Sample) {})
		if i%1000 == 0 {
			table.Changes()
		}
	}
	table.Changes()
	if _, ended := table.Len(); ended > 301 {
		t.Errorf("%d ended legs are remembered, want those of 5 minutes", ended)
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("20,000 ended legs left %d bytes", grown)
	}
	runtime.KeepAlive(table)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
