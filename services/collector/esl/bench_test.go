package esl_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/percipia/eslgo"
)

// endless reads the same bytes over and over.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.data[e.at:])
		n += c
		e.at = (e.at + c) % len(e.data)
	}
	return n, nil
}

func framesOf(tb testing.TB, names ...string) (stream []byte, count int) {
	tb.Helper()
	rec, err := recording.Load("05-load-80-calls")
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range rec.Frames {
		if !f.IsEvent() {
			continue
		}
		id, err := event.Scan(f.Body)
		if err != nil {
			tb.Fatal(err)
		}
		for _, n := range names {
			if n == string(id.Name) {
				stream = append(stream, f.Bytes...)
				count++
			}
		}
	}
	return stream, count
}

func parseAndFilter(b *testing.B, names ...string) {
	stream, count := framesOf(b, names...)
	filter := newFilter(b, esl.FilterConfig{})
	r := esl.NewFrameReader(&endless{data: stream}, 0)
	var dst []byte
	b.SetBytes(int64(len(stream) / count))
	b.ReportAllocs()
	for b.Loop() {
		f, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := event.Scan(f.Body); err != nil {
			b.Fatal(err)
		}
		dst = filter.Append(dst[:0], f.Body)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkReport(b *testing.B) { parseAndFilter(b, event.RecvRTCP, event.SendRTCP) }

func BenchmarkHangupComplete(b *testing.B) { parseAndFilter(b, event.ChannelHangupComplete) }

// firehose is a server that writes the same frames without end.
func firehose(tb testing.TB, stream []byte) (address string) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
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
		io.CopyBuffer(struct{ io.Writer }{conn}, &endless{data: stream}, make([]byte, 64<<10))
	}()
	return ln.Addr().String()
}

// BenchmarkConnReport reads reports over TCP; BenchmarkEslgoReport does the same
// with eslgo, which makes a map of headers and a goroutine of each event.
func BenchmarkConnReport(b *testing.B) {
	stream, count := framesOf(b, event.RecvRTCP, event.SendRTCP)
	conn, err := esl.Dial(b.Context(), dialConfig(firehose(b, stream)))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	filter := newFilter(b, esl.FilterConfig{})
	var dst []byte
	b.SetBytes(int64(len(stream) / count))
	b.ReportAllocs()
	for b.Loop() {
		f, err := conn.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := event.Scan(f.Body); err != nil {
			b.Fatal(err)
		}
		dst = filter.Append(dst[:0], f.Body)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkEslgoReport(b *testing.B) {
	stream, count := framesOf(b, event.RecvRTCP, event.SendRTCP)
	opts := eslgo.DefaultInboundOptions
	opts.Logger = nil
	conn, err := opts.Dial(firehose(b, stream))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	var seen atomic.Int64
	done := make(chan struct{})
	b.SetBytes(int64(len(stream) / count))
	b.ReportAllocs()
	b.ResetTimer()
	target := int64(b.N)
	conn.RegisterEventListener(eslgo.EventListenAll, func(*eslgo.Event) {
		if seen.Add(1) == target {
			close(done)
		}
	})
	if err := conn.EnableEvents(b.Context()); err != nil {
		b.Fatal(err)
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func TestNoAllocationPerReport(t *testing.T) {
	for _, names := range [][]string{{event.RecvRTCP, event.SendRTCP}, {event.ChannelHangupComplete, event.ChannelCreate}} {
		stream, _ := framesOf(t, names...)
		filter := newFilter(t, esl.FilterConfig{})
		r := esl.NewFrameReader(&endless{data: stream}, 0)
		dst := make([]byte, 0, 64<<10)
		if n := testing.AllocsPerRun(2000, func() {
			f, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := event.Scan(f.Body); err != nil {
				t.Fatal(err)
			}
			dst = filter.Append(dst[:0], f.Body)
		}); n != 0 {
			t.Errorf("%v: %v allocations an event, want 0", names, n)
		}
		if !bytes.HasPrefix(dst, []byte("Event-Name: ")) {
			t.Errorf("%v: the last event is %q", names, dst)
		}
	}
}
