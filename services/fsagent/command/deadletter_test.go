package command_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/command"
	"google.golang.org/grpc/codes"
)

// TestDeadLetter parks what an endpoint refuses and bytes that are no sample;
// list and show tell about them, and after retry the sample is at the endpoint,
// which takes it now, and the bytes are parked again.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	sink.Always(otlptest.Poison(codes.InvalidArgument, func(p otlptest.Point) bool { return p.Attributes.Get("channel_id") == "bad" }))
	publish := func(data []byte) {
		t.Helper()
		if _, err := js.Publish(t.Context(), stream.SampleSubject(3), data); err != nil {
			t.Fatal(err)
		}
	}
	for _, channel := range []string{"good", "bad"} {
		s := fsagentv1.Sample_builder{EventId: "core:7", TimeUs: time.Now().UnixMicro(), FsInstance: "fs-1", ChannelId: channel,
			Report: fsagentv1.Report_builder{JitterMs: new(12.5)}.Build()}.Build()
		data, err := sample.Encode([]*fsagentv1.Sample{s})
		if err != nil {
			t.Fatal(err)
		}
		publish(data)
	}
	publish([]byte("no sample"))

	cfg := exporter.DefaultConfig()
	cfg.Endpoint, cfg.Insecure, cfg.ParkAfter = sink.Addr(), new(true), 100*time.Millisecond
	e, err := exporter.New(cfg, js, natstest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	waitUntil(t, "both are parked", func() bool { return e.Stats().Parked == 2 })

	run := func(code int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		got := command.Run(t.Context(), append([]string{"deadletter"}, args...), []string{"FSAGENT_NATS_URL=" + srv.URL()}, &out, &errs)
		if got != code {
			t.Errorf("%v: exit code %d, want %d: %s", args, got, code, &errs)
		}
		return out.String() + errs.String()
	}
	list := run(0, "list")
	number := "1"
	for line := range strings.Lines(list) {
		if strings.Contains(line, "\trefused\t") {
			number, _, _ = strings.Cut(line, "\t")
		}
	}
	if !strings.Contains(list, "fs-1 core:7 REPORT") || !strings.Contains(list, "\tundecodable\t") || !strings.HasSuffix(list, "2 letters\n") {
		t.Errorf("list: got %q", list)
	}
	if got := run(0, "list", "--reason", "time"); got != "0 letters\n" {
		t.Errorf("list of a reason that none has: got %q", got)
	}
	if got := run(0, "show", number); !strings.Contains(got, "bad point") || !strings.Contains(got, "freeswitch.rtcp.jitter = 12.5") {
		t.Errorf("show: got %q", got)
	}
	run(1, "show", "99")
	sink.Heal()
	run(0, "retry", number)
	waitUntil(t, "the sample is at the endpoint", func() bool { return len(sink.Points()) == 2 })
	if got := run(0, "retry", "--all"); got != "1 handed back\n" {
		t.Errorf("retry --all: got %q", got)
	}
	waitUntil(t, "the bytes are parked again", func() bool { return e.Stats().Parked == 3 })
	if got := run(0, "list"); !strings.HasSuffix(got, "1 letters\n") || !strings.Contains(got, "\tundecodable\t") {
		t.Errorf("list afterwards: got %q", got)
	}
	for _, wrong := range [][]string{{}, {"burn"}, {"show"}, {"show", "x"}, {"list", "1"}, {"retry"}, {"retry", "--all", "1"}} {
		run(2, wrong...)
	}
}

func TestDeadLetterNeedsAServer(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := command.Run(t.Context(), []string{"deadletter", "list"}, nil, &out, &errs); code != 1 || !strings.Contains(errs.String(), "nats.listen") {
		t.Errorf("got %d, %s; want 1 and what to set", code, &errs)
	}
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
