package exporter

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// BenchmarkExport measures the whole way of a message in a lane: decode, measure,
// label and send over loopback TCP, to a server in the same process that reads the
// request and does not decode it. The metric is points per second of CPU time,
// both sides together.
func BenchmarkExport(b *testing.B) {
	sink, err := otlptest.Start("127.0.0.1:0", grpc.ForceServerCodecV2(blind{}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(sink.Close)
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.Insecure = sink.Addr(), new(true)
	c, err := newClient(cfg)
	if err != nil {
		b.Fatal(err)
	}
	const samples = 500 // 3,000 points
	batch := fsagentv1.SampleBatch_builder{}
	for n := range samples {
		batch.Samples = append(batch.Samples, report(n))
	}
	data, err := proto.Marshal(batch.Build())
	if err != nil {
		b.Fatal(err)
	}
	var (
		build  encoder
		label  labels
		points int
	)
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		read, _, err := decode(data)
		if err != nil {
			b.Fatal(err)
		}
		items := make([]item, 0, len(read))
		var values []measurement
		for _, s := range read {
			from := len(values)
			values = measurer{}.measure(values, s)
			label.of(s)
			items = append(items, item{sample: s, values: values[from:len(values):len(values)], bytes: label.size()})
		}
		request, n := build.request("fs-1", items)
		if v := c.export(b.Context(), request); v.action != accept {
			b.Fatal(v.err)
		}
		points += n
	}
	b.ReportMetric(float64(points)/(cpu(b)-before).Seconds(), "points/cpu-s")
}

// BenchmarkStream measures a running Exporter from the stream to the endpoint,
// with an embedded NATS server, in points per second of wall time. One operation
// is a message of 200 samples, 1,200 points.
func BenchmarkStream(b *testing.B) {
	sink, err := otlptest.Start("127.0.0.1:0", grpc.ForceServerCodecV2(blind{}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(sink.Close)
	batch := fsagentv1.SampleBatch_builder{}
	for n := range 200 {
		batch.Samples = append(batch.Samples, report(n))
	}
	data, err := proto.Marshal(batch.Build())
	if err != nil {
		b.Fatal(err)
	}
	js := natstest.Start(b).JetStream(stream.DefaultSettings())
	for n := range b.N {
		if _, err := js.PublishAsync(stream.SampleSubject(n%16), data); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.Insecure = sink.Addr(), new(true)
	e, err := New(cfg, js, natstest.Logger(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	before := cpu(b)
	b.ResetTimer()
	go func() { done <- e.Run(ctx) }()
	for e.Stats().PointsAccepted < uint64(b.N)*1200 {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*1200/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(float64(b.N)*1200/(cpu(b)-before).Seconds(), "points/cpu-s")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// cpu time of this process, user and system.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// blind is a codec that decodes nothing.
type blind struct{}

func (blind) Marshal(v any) (mem.BufferSlice, error) {
	data, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (blind) Unmarshal(mem.BufferSlice, any) error { return nil }

func (blind) Name() string { return "proto" }

// BenchmarkSteady runs at the rate of 10,000 legs: 12,000 points a second, in the
// small messages that 16 partitions make of them every 20 ms. One operation is
// such 20 ms. The metric is the share of one core, with the NATS server, the
// publisher and the receiver, which are in the same process; "idle" of the same
// without the exporter is what to subtract.
func BenchmarkSteady(b *testing.B) {
	for _, exports := range []bool{false, true} {
		b.Run(map[bool]string{false: "idle", true: "export"}[exports], func(b *testing.B) { steady(b, exports) })
	}
}

func steady(b *testing.B, exports bool) {
	sink, err := otlptest.Start("127.0.0.1:0", grpc.ForceServerCodecV2(blind{}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(sink.Close)
	js := natstest.Start(b).JetStream(stream.DefaultSettings())
	var messages [16][]byte // 2 or 3 samples each, 40 together, 240 points
	for p := range messages {
		batch := fsagentv1.SampleBatch_builder{}
		for n := range 2 + p%2 {
			batch.Samples = append(batch.Samples, report(n))
		}
		if messages[p], err = proto.Marshal(batch.Build()); err != nil {
			b.Fatal(err)
		}
	}
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.Insecure = sink.Addr(), new(true)
	e, err := New(cfg, js, natstest.Logger(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	if exports {
		go func() { done <- e.Run(ctx) }()
	}
	before := cpu(b)
	b.ResetTimer()
	began := time.Now()
	for n := range b.N {
		time.Sleep(time.Until(began.Add(time.Duration(n) * 20 * time.Millisecond)))
		for p, data := range messages {
			if _, err := js.PublishAsync(stream.SampleSubject(p), data); err != nil {
				b.Fatal(err)
			}
		}
	}
	for exports && e.Stats().PointsAccepted < uint64(b.N)*240 {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*240/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(100*(cpu(b)-before).Seconds()/b.Elapsed().Seconds(), "%core")
	cancel()
	if exports {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
