package collector_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkShare is the whole work of a collector beside a publisher that does
// nothing but publish the same bytes with the same ids asynchronously, through
// the same NATS server (a process of its own, with files), one after the other,
// again and again. Share is the ratio of their rates.
func BenchmarkShare(b *testing.B) {
	url := benchNATS(b)
	tape := record(b, 40_000)
	var bare, whole time.Duration
	n := 0
	for b.Loop() {
		n++
		bare += publishBare(b, url, tape, 2*n)
		whole += runCollector(b, url, tape, 2*n+1)
	}
	events := float64(n * len(tape.bodies))
	b.ReportMetric(events/bare.Seconds(), "bare-events/s")
	b.ReportMetric(events/whole.Seconds(), "collector-events/s")
	b.ReportMetric(bare.Seconds()/whole.Seconds(), "share")
	b.ReportMetric(float64(len(tape.frames))/float64(len(tape.bodies)), "B/event")
	b.ReportMetric(0, "ns/op")
}

// tape is what a server writes, and what is published of it.
type tape struct {
	frames []byte
	bodies [][]byte // filtered
}

// life gives all events of a tape another Core-UUID.
func (t tape) life(n int) string {
	return fmt.Sprintf("f5a9e570-0000-4000-9000-%012d", n)
}

func record(b *testing.B, events int) (t tape) {
	b.Helper()
	fs, err := esltest.Start(esltest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer fs.Close()
	conn, err := esl.Dial(b.Context(), esl.Config{Address: fs.Addr().String(), Password: esltest.DefaultPassword, Events: collector.Subscription(true),
		DialTimeout: time.Second, ReplyTimeout: time.Second, IdleTimeout: time.Minute, ProbeTimeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	recs := load(b, "05-load-80-calls")
	go fs.Play(ctx, esltest.Playback{Recordings: recs, Clients: 1, Rounds: -1, Start: time.Now()})
	filter, err := esl.NewFilter(esl.FilterConfig{})
	if err != nil {
		b.Fatal(err)
	}
	for len(t.bodies) < events {
		f, err := conn.Next()
		if err != nil {
			b.Fatal(err)
		}
		t.frames = fmt.Appendf(t.frames, "Content-Length: %d\nContent-Type: text/event-plain\n\n%s", len(f.Body), f.Body)
		t.bodies = append(t.bodies, filter.Append(nil, f.Body))
	}
	return t
}

func benchNATS(b *testing.B) (url string) {
	b.Helper()
	port := strconv.Itoa(freePort(b))
	cmd := exec.Command(natstest.Build(b, "github.com/nats-io/nats-server/v2"), "-a", "127.0.0.1", "-p", port, "-js", "-sd", b.TempDir())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "nats://127.0.0.1:" + port
}

func benchConnect(b *testing.B, url string) (*nats.Conn, jetstream.JetStream) {
	b.Helper()
	nc, err := stream.Connect(stream.Connection{URL: url}, b.Name(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1024))
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.EnsureRetry(b.Context(), js, stream.DefaultSettings(), slog.New(slog.DiscardHandler)); err != nil {
		b.Fatal(err)
	}
	return nc, js
}

func publishBare(b *testing.B, url string, t tape, n int) time.Duration {
	b.Helper()
	nc, js := benchConnect(b, url)
	defer nc.Close()
	core := t.life(n)
	msgs := make([]*nats.Msg, len(t.bodies))
	for i, body := range t.bodies {
		id, err := event.Scan(body)
		if err != nil {
			b.Fatal(err)
		}
		msgs[i] = &nats.Msg{
			Subject: stream.EventSubject(stream.Partition(id.UniqueID, stream.DefaultPartitions), "bare", id.Name),
			Header:  nats.Header{nats.MsgIdHdr: {fmt.Sprintf("%s:%d", core, id.Sequence)}},
			Data:    body,
		}
	}
	began := time.Now()
	for _, m := range msgs {
		if _, err := js.PublishMsgAsync(m); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return time.Since(began)
}

func runCollector(b *testing.B, url string, t tape, n int) time.Duration {
	b.Helper()
	nc, _ := benchConnect(b, url)
	defer nc.Close()
	frames := bytes.ReplaceAll(t.frames, []byte(esltest.DefaultCoreUUID), []byte(t.life(n)))
	began := make(chan time.Time, 1)
	port := pour(b, frames, began)
	cfg := collector.DefaultConfig()
	cfg.Instances = collector.Instances{{Name: "fs1", Host: "127.0.0.1", Port: port, Password: "x"}}
	cfg.Events.BufferBytes = 1 << 30 // nothing is to be dropped
	c, err := collector.New(cfg, nc, stream.DefaultPartitions, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	start := <-began
	for c.Stats().Published < uint64(len(t.bodies)) {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(start)
	if st := c.Stats(); st.Duplicates > 0 || len(st.Dropped) > 0 || len(st.Rejected) > 0 {
		b.Errorf("got %+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	return took
}

// pour is a server that costs next to nothing: the first client gets the frames
// as they are, others get nothing.
func pour(b *testing.B, frames []byte, began chan<- time.Time) (port int) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(conn)
		io.WriteString(conn, "Content-Type: auth/request\n\n")
		for range 2 { // auth, event
			for line := "x"; strings.TrimSpace(line) != ""; {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			io.WriteString(conn, "Content-Type: command/reply\nReply-Text: +OK\n\n")
		}
		began <- time.Now()
		conn.Write(frames)
		io.Copy(io.Discard, in) // until the client ends it
		conn.Close()
	}()
	return ln.Addr().(*net.TCPAddr).Port
}
