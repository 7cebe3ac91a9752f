package exporter_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// TestBadInput puts each bad message between good ones: these arrive, the bad
// one is parked with its sequence and reason, and all are acknowledged.
func TestBadInput(t *testing.T) {
	t.Parallel()
	at := func(us int64) []byte {
		s := jitter("fs-1", 99, 1)
		s.SetTimeUs(us)
		return batch(t, s)
	}
	for _, tt := range []struct {
		name   string
		data   []byte
		reason string
	}{
		{"not a batch", []byte("hello world"), "undecodable: "},
		{"cut off", batch(t, jitter("fs-1", 99, 1))[:20], "undecodable: "},
		{"a sample that is none", protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "\xff\xff"), "undecodable: "},
		{"no time", at(0), "time: "},
		{"before time", at(-5), "time: "},
		{"the future", at(time.Now().Add(30 * time.Minute).UnixMicro()), "time: "},
		{"the end of time", at(math.MaxInt64), "time: "},
		{"no body", batch(t, fsagentv1.Sample_builder{TimeUs: 1, FsInstance: "fs-1"}.Build()), "kind: "},
		{"not a number", batch(t, fsagentv1.Sample_builder{TimeUs: 1, FsInstance: "fs-1",
			Report: fsagentv1.Report_builder{JitterMs: new(math.NaN())}.Build()}.Build()), "value: "},
		{"infinite", batch(t, fsagentv1.Sample_builder{TimeUs: 1, FsInstance: "fs-1",
			LegEnd: fsagentv1.LegEnd_builder{Mos: new(math.Inf(1))}.Build()}.Build()), "value: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.publish(0, jitter("fs-1", 1, 1))
			seq := r.publishBytes(0, tt.data)
			r.publish(0, jitter("fs-1", 1, 2))
			e := r.start()
			r.settledAfter(3, e)
			r.exactly(2)
			letters := r.letters()
			if len(letters) != 1 {
				t.Fatalf("dead letters: got %d, want 1", len(letters))
			}
			h := letters[0].Header
			if got := h.Get(stream.HeaderReason); !strings.HasPrefix(got, tt.reason) {
				t.Errorf("%s: got %q, want %q...", stream.HeaderReason, got, tt.reason)
			}
			if got := h.Get(stream.HeaderSequence); got != fmt.Sprint(seq) {
				t.Errorf("%s: got %s, want %d", stream.HeaderSequence, got, seq)
			}
			if !bytes.HasSuffix(tt.data, letters[0].Data[min(2, len(letters[0].Data)):]) {
				t.Errorf("dead letter: got % x, want what was sent", letters[0].Data)
			}
		})
	}
}

// TestGoodSamplesOfABadBatch arrive, and invalid UTF-8 is repaired.
func TestGoodSamplesOfABadBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	broken := jitter("fs-1", 1, 1)
	broken.SetDomainName("DOMAIN")
	data := bytes.ReplaceAll(batch(t, broken), []byte("DOMAIN"), []byte("a\xffb\xc3(c"))
	data = append(data, batch(t, jitter("fs-1", 1, 2))...)
	data = protowire.AppendString(protowire.AppendTag(data, 1, protowire.BytesType), "\xff\xff")
	r.publishBytes(0, data)
	e := r.start()
	r.settledAfter(1, e)
	r.exactly(2)
	if got := e.Stats().Parked; got != 1 {
		t.Errorf("parked: got %d, want 1", got)
	}
	if got, want := r.sink.Points()[0].Attributes.Get("domain_name"), "a\uFFFDb\uFFFD(c"; got != want {
		t.Errorf("domain_name: got %q, want %q", got, want)
	}
}

func TestWideRequestsAreCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config func(*exporter.Config)
		// samples a second apart, requests wanted
		samples, requests int
	}{
		{"points", func(c *exporter.Config) { c.MaxPoints = 10 }, 35, 4},
		{"bytes", func(c *exporter.Config) { c.MaxBytes = 1 << 10 }, 35, 6},
		{"span", func(c *exporter.Config) { c.MaxSpan = 10 * time.Second }, 35, 4},
		{"none", func(c *exporter.Config) {}, 35, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tt.config(&r.cfg)
			var samples []*fsagentv1.Sample
			for n := range tt.samples {
				samples = append(samples, jitter("fs-1", 1, n))
			}
			r.publish(0, samples...)
			e := r.start()
			r.settledAfter(1, e)
			r.exactly(tt.samples)
			if got := len(r.sink.Requests()); got != tt.requests {
				t.Errorf("requests: got %d, want %d", got, tt.requests)
			}
		})
	}
}

func batch(t testing.TB, samples ...*fsagentv1.Sample) []byte {
	t.Helper()
	data, err := proto.Marshal(fsagentv1.SampleBatch_builder{Samples: samples}.Build())
	if err != nil {
		t.Fatal(err)
	}
	return data
}
