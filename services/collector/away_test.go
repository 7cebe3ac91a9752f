package collector_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/nats-io/nats.go/jetstream"
)

var soak = flag.Duration("soak", 2*time.Second, "how long NATS is away in TestNATSAway, each time")

func gapCount(m jetstream.Msg) int {
	if !strings.HasSuffix(m.Subject(), "."+event.Gap) || !strings.HasPrefix(m.Subject(), "fsagent.events.0.") {
		return 0
	}
	e, err := event.Parse(m.Data())
	if err != nil {
		return 0
	}
	v, _ := e.Header(collector.HeaderGapCount)
	n, _ := event.Uint(v)
	return int(n)
}

// lateness measures how late the machine lets a goroutine be that only sleeps,
// in this process: no socket can be served better.
func lateness(ctx context.Context) func() time.Duration {
	var worst atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			time.Sleep(time.Millisecond)
			worst.Store(max(worst.Load(), int64(time.Since(began)-time.Millisecond)))
		}
	})
	return func() time.Duration {
		wg.Wait()
		return time.Duration(worst.Load())
	}
}

// flow plays events at a rate until stop, which returns how many were sent.
func flow(t *testing.T, fs *esltest.Server, rate float64, clients int) (stop func() uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	recs := load(t, "05-load-80-calls")
	go func() {
		_, err := fs.Play(ctx, esltest.Playback{Recordings: recs, Rate: rate, Rounds: -1, Clients: clients, Start: time.Now()})
		done <- err
	}()
	return func() uint64 {
		t.Helper()
		cancel()
		if err := <-done; err != context.Canceled {
			t.Fatalf("Play: %v", err)
		}
		return fs.Stats().Clients[0].Events
	}
}

// NATS is away for long, once stopped and once killed, while a server writes
// 20,000 events a second. The server never waits, memory stays within bounds, and
// every event is in the stream or counted as dropped. -soak 60s is the long form.
func TestNATSAway(t *testing.T) {
	const limit = 64 << 20
	broker, url, js := startNATS(t, settings())
	fs := newFreeSWITCH(t, esltest.Config{})
	c := startCollector(t, url, instanceJSON("fs1", fs.Addr().Port), fmt.Sprintf("FSAGENT_EVENTS_BUFFER_BYTES=%d", limit))
	eventually(t, "ready", c.ready)
	idle := c.memory("VmHWM") - c.memory("RssFile")
	watch, stopWatch := context.WithCancel(t.Context())
	late := lateness(watch)
	stop := flow(t, fs, 20_000, 1)
	published := func() float64 { return c.metric("fsagent_events_published_total") }
	for _, how := range []struct {
		name        string
		leave, back func()
	}{
		{"stopped", func() { broker.signal(syscall.SIGSTOP) }, func() { broker.signal(syscall.SIGCONT) }},
		{"killed", broker.kill, broker.start},
	} {
		before := published()
		eventually(t, "events flow", func() bool { return published() > before })
		how.leave()
		time.Sleep(*soak) // the time itself is what is tested
		t.Logf("NATS %s for %v: %.0f MB wait, %.0f dropped", how.name, *soak, c.metric("fsagent_buffer_bytes")/1e6, c.metric("fsagent_events_dropped_total"))
		away := published()
		how.back()
		eventually(t, "events flow again", func() bool { return published() > away })
	}
	sent := stop()
	stopWatch()
	control := late()
	eventually(t, "everything is accounted for", func() bool {
		return uint64(published()+c.metric("fsagent_events_dropped_total")) >= sent && c.metric("fsagent_buffer_bytes") == 0
	})
	block := fs.Stats().Clients[0].LongestBlock
	peak := c.memory("VmHWM") - c.memory("RssFile") // the pages of the program's file are not its own
	pub, dropped := uint64(published()), uint64(c.metric("fsagent_events_dropped_total"))
	told := func() bool {
		return c.metric("fsagent_buffer_bytes") == 0 && c.metric("fsagent_publish_in_flight") == 0
	}
	eventually(t, "all drops are told", told)
	l := read(t, js)
	for end := time.Now().Add(2 * time.Minute); uint64(l.told) < dropped && time.Now().Before(end); l = read(t, js) {
	}
	t.Logf("sent %d = published %d + dropped %d; in the stream %d different, %d twice; longest write %v (a sleeper was late by %v); memory %d MB idle, %d MB at most",
		sent, pub, dropped, len(l.copies), l.doubles(), block, control, idle>>20, peak>>20)
	if pub+dropped != sent {
		t.Errorf("published %d + dropped %d = %d, sent %d", pub, dropped, pub+dropped, sent)
	}
	if uint64(len(l.copies)) != pub || uint64(l.told) != dropped {
		t.Errorf("in the stream are %d events, %d were published; %d drops are told, %d were counted", len(l.copies), pub, l.told, dropped)
	}
	if n := l.doubles(); n > 0 && (*soak < settings().DuplicateWindow || n > collector.DefaultConfig().Publish.Window) {
		t.Errorf("%d events are in the stream twice", n)
	}
	// Server and collector wait for the processor in turn, as the sleeper does once.
	if block > 100*time.Millisecond+4*control {
		t.Errorf("the server had to wait %v for one write", block)
	}
	if peak > limit*3/2 {
		t.Errorf("the collector took %d MB with a buffer of %d MB", peak>>20, limit>>20)
	}
}

// observe reads a server's events beside the collector and returns their message
// ids in order once there are n.
func observe(t *testing.T, fs *esltest.Server) (first func(n int) []string) {
	t.Helper()
	var names []string
	for name := range subscribed {
		names = append(names, name)
	}
	conn, err := esl.Dial(t.Context(), esl.Config{Address: fs.Addr().String(), Password: esltest.DefaultPassword, Events: names,
		DialTimeout: time.Minute, ReplyTimeout: time.Minute, IdleTimeout: time.Minute, ProbeTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ids := make(chan string, 1<<20)
	go func() {
		defer close(ids)
		for {
			f, err := conn.Next()
			if err != nil {
				return
			}
			if id, err := event.Scan(f.Body); err == nil {
				ids <- fmt.Sprintf("%s:%d", id.CoreUUID, id.Sequence)
			}
		}
	}()
	return func(n int) []string {
		var out []string
		for id := range ids {
			if out = append(out, id); len(out) == n {
				break
			}
		}
		return out
	}
}

// NATS is killed with SIGKILL again and again while 5,000 events a second flow:
// all are in the stream, once each, in order.
func TestNATSKilled(t *testing.T) {
	t.Parallel()
	s := settings()
	s.DuplicateWindow = 5 * time.Minute // longer than any restart
	broker, url, js := startNATS(t, s)
	fs := newFreeSWITCH(t, esltest.Config{})
	c := startCollector(t, url, instanceJSON("fs1", fs.Addr().Port))
	eventually(t, "ready", c.ready)
	first := observe(t, fs)
	stop := flow(t, fs, 5_000, 2)
	for range 3 {
		before := c.metric("fsagent_events_published_total")
		eventually(t, "events flow", func() bool { return c.metric("fsagent_events_published_total") > before+3000 })
		broker.kill()
		broker.start()
	}
	sent := stop()
	eventually(t, "all are published", func() bool { return uint64(c.metric("fsagent_events_published_total")) == sent })
	l := read(t, js)
	t.Logf("sent %d, in the stream %d, %d twice; published again: %.0f times, found there already: %.0f",
		sent, len(l.copies), l.doubles(), c.metric("fsagent_publish_retries_total"), c.metric("fsagent_events_duplicate_total"))
	if uint64(len(l.copies)) != sent || l.doubles() != 0 || c.metric("fsagent_events_dropped_total") != 0 {
		t.Errorf("got %d events, %d of them twice, want %d, once each", len(l.copies), l.doubles(), sent)
	}
	if !slices.Equal(l.order, first(int(sent))) {
		t.Error("the events are not in the order in which they were sent")
	}
}

// Two collectors read one server; one, then the other, is killed with SIGKILL and
// started again: all events are there, once each. Their order is each collector's
// own: one that has just joined may publish an event before the other has
// published those ahead of it.
func TestCollectorKilled(t *testing.T) {
	t.Parallel()
	s := settings()
	s.DuplicateWindow = 5 * time.Minute // longer than one can be behind the other
	_, url, js := startNATS(t, s)
	fs := newFreeSWITCH(t, esltest.Config{})
	pair := []*collectorProcess{
		startCollector(t, url, instanceJSON("fs1", fs.Addr().Port)),
		startCollector(t, url, instanceJSON("fs1", fs.Addr().Port)),
	}
	for _, c := range pair {
		eventually(t, "ready", c.ready)
	}
	first := observe(t, fs)
	stop := flow(t, fs, 2_000, 3)
	for i := range 4 {
		c, other := pair[i%2], pair[(i+1)%2]
		before := other.metric("fsagent_events_published_total")
		eventually(t, "events flow", func() bool { return other.metric("fsagent_events_published_total") > before+500 })
		c.kill()
		before = other.metric("fsagent_events_published_total")
		eventually(t, "the other goes on", func() bool { return other.metric("fsagent_events_published_total") > before+500 })
		c.start()
		eventually(t, "it is back", c.ready)
		eventually(t, "it publishes", func() bool { return c.metric("fsagent_events_published_total") > 0 })
	}
	stop()
	sent := 0
	for _, client := range fs.Stats().Clients { // the observer was there all the time
		sent = max(sent, int(client.Events))
	}
	want := first(sent)
	var l ledger
	eventually(t, "all are in the stream", func() bool {
		l = read(t, js)
		return len(l.copies) >= sent
	})
	eventually(t, "both have nothing left", func() bool {
		return pair[0].metric("fsagent_events_received_total") > 0 && pair[0].metric("fsagent_buffer_bytes") == 0 &&
			pair[1].metric("fsagent_events_received_total") > 0 && pair[1].metric("fsagent_buffer_bytes") == 0
	})
	l = read(t, js)
	t.Logf("sent %d, in the stream %d, %d twice; besides: %v", sent, len(l.copies), l.doubles(), l.made)
	if len(l.copies) != sent || l.doubles() != 0 {
		t.Errorf("got %d events, %d of them twice, want %d, once each", len(l.copies), l.doubles(), sent)
	}
	slices.Sort(l.order)
	slices.Sort(want)
	if !slices.Equal(l.order, want) {
		t.Error("the events in the stream are not those that were sent")
	}
}
