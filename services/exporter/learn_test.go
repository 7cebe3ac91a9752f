package exporter

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// TestAddressesTakeTurns: a name with two addresses is two endpoints; when one is
// gone, all goes to the other.
func TestAddressesTakeTurns(t *testing.T) {
	t.Parallel()
	var sinks [2]*otlptest.Receiver
	var addresses []resolver.Address
	for i := range sinks {
		sink, err := otlptest.Start("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sink.Close)
		sinks[i] = sink
		addresses = append(addresses, resolver.Address{Addr: sink.Addr()})
	}
	names := manual.NewBuilderWithScheme("turns")
	names.InitialState(resolver.State{Addresses: addresses})
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.Insecure = "turns:///collector", new(true)
	c, err := newClient(cfg, grpc.WithResolvers(names))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close(t.Context()) })
	var build encoder
	send := func() verdict {
		data, _ := build.request("fs-1", []item{{sample: report(1), values: measurer{}.measure(nil, report(1))}})
		return c.export(t.Context(), data)
	}
	for deadline := time.Now().Add(time.Minute); len(sinks[0].Requests()) == 0 || len(sinks[1].Requests()) == 0; {
		if v := send(); v.action != accept || time.Now().After(deadline) {
			t.Fatalf("both endpoints never had a request: %v", v.err)
		}
	}
	sinks[0].Close()
	taken := 0
	for deadline := time.Now().Add(time.Minute); taken < 10 && time.Now().Before(deadline); {
		if send().action == accept {
			taken++
		}
	}
	if taken < 10 {
		t.Errorf("with one endpoint left %d requests were taken, want 10", taken)
	}
}

// TestLimitIsRemembered: what an endpoint finds too large once is not tried again
// with every request, and is tried again later.
func TestLimitIsRemembered(t *testing.T) {
	t.Parallel()
	sink, err := otlptest.Start("127.0.0.1:0", grpc.MaxRecvMsgSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.Insecure, cfg.Lanes = sink.Addr(), new(true), 1
	var all fsagentv1.SampleBatch_builder
	for n := range 100 {
		all.Samples = append(all.Samples, report(n))
	}
	data, err := proto.Marshal(all.Build())
	if err != nil {
		t.Fatal(err)
	}
	const messages = 30
	for range messages {
		if _, err := js.Publish(t.Context(), stream.SampleSubject(0), data); err != nil {
			t.Fatal(err)
		}
	}
	e, err := New(cfg, js, natstest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	runUntil(t, e, func() bool { return e.Stats().PointsAccepted == messages*600 })
	refused := answered(t, e, codes.ResourceExhausted)
	if refused == 0 || refused > 40 {
		t.Errorf("requests found too large: got %v, want a few at the beginning", refused)
	}
	l := newLimits(cfg)
	now := time.Now()
	l.tooLarge(100_000, now)
	if l.bytes != 50_000 {
		t.Errorf("limit: got %d, want 50000", l.bytes)
	}
	if l.tooLarge(10, now); l.bytes != leastBytes {
		t.Errorf("limit: got %d, want %d at least", l.bytes, leastBytes)
	}
	if l.renew(now.Add(remember + 1)); l.bytes != cfg.MaxBytes {
		t.Errorf("limit later: got %d, want %d", l.bytes, cfg.MaxBytes)
	}
}

// TestParkingIsFast parks a whole message of bad samples at once: one answer of
// NATS for each in turn would take a hundred times as long.
func TestParkingIsFast(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	var all fsagentv1.SampleBatch_builder
	const samples = 2000
	for n := range samples {
		s := report(n)
		s.SetEventId(string(rune('a'+n%26)) + time.Duration(n).String())
		s.SetTimeUs(time.Now().Add(time.Hour).UnixMicro())
		all.Samples = append(all.Samples, s)
	}
	data, err := proto.Marshal(all.Build())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), stream.SampleSubject(0), data); err != nil {
		t.Fatal(err)
	}
	e, err := New(DefaultConfig(), js, natstest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	runUntil(t, e, func() bool { return e.Stats().Parked == samples && e.Stats().Held == 0 })
	s, err := js.Stream(t.Context(), stream.DeadLetter)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Msgs; got != samples {
		t.Errorf("letters: got %d, want %d", got, samples)
	}
}

// TestHeadersFile: the headers of the file go with those of the configuration,
// and before them.
func TestHeadersFile(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/headers"
	write(t, path, "x-api-key=s3cret%2C1\nx-tenant = two,x-more=3\n")
	got, err := Headers{"x-tenant": "one", "x-own": "1"}.withFile(path)
	if err != nil || len(got) != 4 || got["x-api-key"] != "s3cret,1" || got["x-tenant"] != "two" || got["x-more"] != "3" || got["x-own"] != "1" {
		t.Errorf("got %d headers, %v", len(got), err)
	}
	for _, bad := range []string{"s3cret", "grpc-x=1", "x=\x01"} {
		write(t, path, bad)
		if _, err := newClient(Config{HeadersFile: path}); err == nil {
			t.Errorf("%q: got no error", bad)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a value is in: %v", err)
		}
	}
	if _, err := newClient(Config{HeadersFile: path + ".none"}); err == nil {
		t.Error("no such file: got no error")
	}
}
