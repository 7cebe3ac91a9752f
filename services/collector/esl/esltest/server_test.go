package esltest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/percipia/eslgo"
	"github.com/percipia/eslgo/command"
)

func start(t testing.TB, cfg esltest.Config) *esltest.Server {
	t.Helper()
	s, err := esltest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func load(t testing.TB, names ...string) []*recording.Recording {
	t.Helper()
	var out []*recording.Recording
	for _, n := range names {
		r, err := recording.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// eslgo is an independent client: what it understands is ESL. Its Close races
// with the end of its own connection, so it is left to end with its context.
func TestEslgoUnderstands(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	opts := eslgo.DefaultInboundOptions
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	opts.Logger = nil
	opts.Context = ctx
	opts.Password = esltest.DefaultPassword
	conn, err := opts.Dial(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	got := make(map[string]int)
	all := make(chan struct{})
	rec := load(t, "02-bridged-pcmu")
	want := len(rec[0].Events())
	conn.RegisterEventListener(eslgo.EventListenAll, func(e *eslgo.Event) {
		mu.Lock()
		defer mu.Unlock()
		if got[e.GetHeader("Event-Sequence")]++; len(got) == want {
			close(all)
		}
	})
	if err := conn.EnableEvents(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Play(ctx, esltest.Playback{Recordings: rec, Clients: 1}); err != nil || n != want {
		t.Fatalf("Play: got %d, %v, want %d", n, err, want)
	}
	select {
	case <-all:
	case <-ctx.Done():
		t.Fatalf("got %d events, want %d", len(got), want)
	}
	r, err := conn.SendCommand(ctx, command.API{Command: "status"})
	if err != nil || !bytes.HasPrefix(r.Body, []byte("UP ")) {
		t.Errorf("api status: got %v, %v", r, err)
	}
	r, err = conn.SendCommand(ctx, command.API{Command: "show", Arguments: "channels as json"})
	if err != nil || string(r.Body) != `{"row_count":0}` {
		t.Errorf("show channels after all have ended: got %v, %v", r, err)
	}
	r, err = conn.SendCommand(ctx, command.API{Command: "status", Background: true})
	if err != nil || r.GetHeader("Job-Uuid") == "" {
		t.Errorf("bgapi: got %v, %v", r, err)
	}
}

// talk is a connection of lines, to see the very bytes.
type talk struct {
	t    *testing.T
	conn net.Conn
}

func dial(t *testing.T, s *esltest.Server) *talk {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	k := &talk{t, conn}
	k.expect("Content-Type: auth/request\n\n")
	return k
}

func (k *talk) say(command string) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, command); err != nil {
		k.t.Fatal(err)
	}
}

func (k *talk) expect(want string) {
	k.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(k.conn, got); err != nil || string(got) != want {
		k.t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

func (k *talk) reply(command, text string) {
	k.t.Helper()
	k.say(command + "\n\n")
	k.expect("Content-Type: command/reply\nReply-Text: " + text + "\n\n")
}

func TestCommands(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	k := dial(t, s)
	k.reply("api status", "-ERR command not found") // before auth
	k.say("\r\n\n")                                 // ignored
	k.reply("auth ClueCon", "+OK accepted")
	k.reply("nonsense", "-ERR command not found")
	k.reply("event plain NO_SUCH", "-ERR no keywords supplied")
	k.reply("event plain", "-ERR no keywords supplied")
	k.reply("event plain switch_event_heartbeat NO_SUCH", "+OK event listener enabled plain")
	k.reply("event CUSTOM my::sub", "+OK event listener enabled plain")
	send := func(name, more string) string {
		raw := fmt.Sprintf("Event-Name: %s\nCore-UUID: c\nEvent-Date-Timestamp: 1\nEvent-Sequence: 1\n%s\n", name, more)
		s.Send([]byte(raw))
		return fmt.Sprintf("Content-Length: %d\nContent-Type: text/event-plain\n\n%s", len(raw), raw)
	}
	send("STARTUP", "")
	send("CUSTOM", "Event-Subclass: other\n")
	beat := send("HEARTBEAT", "")
	custom := send("CUSTOM", "Event-Subclass: my::sub\n")
	k.expect(beat + custom)

	k.reply("filter Unique-ID u1", "+OK filter added. [Unique-ID]=[u1]")
	send("HEARTBEAT", "")
	u1 := send("HEARTBEAT", "Unique-ID: U1\n")
	k.expect(u1)
	k.reply("filter add -Up-Time no", "+OK filter added. [Up-Time]=[no]")
	send("HEARTBEAT", "Unique-ID: u1\nUp-Time: no\n")
	k.reply("filter delete Unique-ID", "+OK filter deleted. [Unique-ID]=[]")
	send("HEARTBEAT", "Unique-ID: u1\n") // negative filters alone let nothing pass
	k.reply("filter delete all", "+OK filter deleted. [all]=[]")
	k.reply("filter Unique-ID /^u[0-9]+$/", "+OK filter added. [Unique-ID]=[/^u[0-9]+$/]")
	send("HEARTBEAT", "Unique-ID: x1\n")
	u7 := send("HEARTBEAT", "Unique-ID: u7\n")
	k.expect(u7)
	k.reply("filter delete all", "+OK filter deleted. [all]=[]")

	k.reply("nixevent HEARTBEAT", "+OK events nixed")
	send("HEARTBEAT", "")
	k.reply("event plain ALL", "+OK event listener enabled plain")
	started := send("STARTUP", "")
	k.expect(started)
	k.reply("nixevent STARTUP", "+OK events nixed")
	send("STARTUP", "")
	down := send("SHUTDOWN", "")
	k.expect(down)
	k.reply("noevents", "+OK no longer listening for events")
	send("SHUTDOWN", "")
	k.say("api no_such x\n\n")
	k.expect("Content-Type: api/response\nContent-Length: 32\n\n-ERR no_such Command not found!\n")
}

func TestExit(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	k := dial(t, s)
	k.reply("exit", "+OK bye")
	rest, err := io.ReadAll(k.conn)
	if err != nil || !strings.HasPrefix(string(rest), "Content-Type: text/disconnect-notice\n") {
		t.Errorf("got %q, %v", rest, err)
	}
}

// sink counts events of a raw subscriber.
func sink(t *testing.T, s *esltest.Server) <-chan []event.ID {
	t.Helper()
	k := dial(t, s)
	k.reply("auth ClueCon", "+OK accepted")
	k.reply("event plain ALL", "+OK event listener enabled plain")
	out := make(chan []event.ID, 1)
	go func() {
		all, _ := io.ReadAll(k.conn)
		var ids []event.ID
		for rest := all; len(rest) > 0; {
			head, body, ok := bytes.Cut(rest, []byte("\n\n"))
			var n int
			if _, err := fmt.Sscanf(string(head), "Content-Length: %d", &n); !ok || err != nil || n > len(body) {
				break // the notice at the end
			}
			id, err := event.Scan(body[:n])
			if err != nil {
				t.Errorf("%v:\n%s", err, body[:n])
			}
			ids = append(ids, id)
			rest = body[n:]
		}
		out <- ids
	}()
	return out
}

func TestCopiesAreAllDifferent(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	got := sink(t, s)
	recs := load(t, "01-single-pcmu", "06b-refer-transfer", "05-load-80-calls")
	events := 0
	for _, r := range recs {
		events += len(r.Events())
	}
	const copies, rounds = 3, 2
	n, err := s.Play(t.Context(), esltest.Playback{
		Recordings: recs, Together: true, Clients: 1, Copies: copies, Rounds: rounds, Stagger: 10 * time.Millisecond,
		Start: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	if err != nil || n != events*copies*rounds {
		t.Fatalf("got %d, %v, want %d", n, err, events*copies*rounds)
	}
	s.Disconnect()
	ids := <-got
	if len(ids) != n {
		t.Fatalf("client got %d events, want %d", len(ids), n)
	}
	numbers, channels := make(map[uint64]bool), make(map[string]bool)
	lowest, highest := ids[0].TimeUS, ids[0].TimeUS
	for _, id := range ids {
		if numbers[id.Sequence] {
			t.Fatalf("number %d twice", id.Sequence)
		}
		numbers[id.Sequence] = true
		if string(id.CoreUUID) != esltest.DefaultCoreUUID {
			t.Fatalf("core %s, want the server's", id.CoreUUID)
		}
		if len(id.UniqueID) > 0 {
			channels[string(id.UniqueID)] = true
		}
		lowest, highest = min(lowest, id.TimeUS), max(highest, id.TimeUS)
	}
	once := make(map[string]bool)
	for _, r := range recs {
		for _, raw := range r.Events() {
			id, err := event.Scan(raw)
			if err != nil {
				t.Fatal(err)
			}
			if len(id.UniqueID) > 0 {
				once[string(id.UniqueID)] = true
			}
		}
	}
	if len(channels) != len(once)*copies*rounds {
		t.Errorf("got %d channels, want %d", len(channels), len(once)*copies*rounds)
	}
	if y := time.UnixMicro(lowest).UTC(); y.Before(time.Date(2029, 12, 31, 23, 59, 0, 0, time.UTC)) || time.UnixMicro(highest).Sub(y) > 10*time.Minute {
		t.Errorf("times from %v to %v, want some minutes from 2030 on", y, time.UnixMicro(highest).UTC())
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	recs := load(t, "09b-rtcp-mux")
	frames := recs[0].Frames
	length := frames[len(frames)-1].At.Sub(frames[0].At)
	began := time.Now()
	if _, err := s.Play(t.Context(), esltest.Playback{Recordings: recs, Speed: 50}); err != nil {
		t.Fatal(err)
	}
	if took, want := time.Since(began), length/50; took < want-10*time.Millisecond || took > length/2 {
		t.Errorf("took %v, want hardly more than %v", took, want)
	}
}

func TestNotAhead(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	recs := load(t, "09b-rtcp-mux")
	frames := recs[0].Frames
	length := frames[len(frames)-1].At.Sub(frames[0].At)
	const behind = 200 * time.Millisecond
	ends := time.Now().Add(behind)
	if _, err := s.Play(t.Context(), esltest.Playback{Recordings: recs, Speed: esltest.AsFast, Start: ends.Add(-length), NotAhead: true}); err != nil {
		t.Fatal(err)
	}
	if early := time.Until(ends); early > 0 {
		t.Errorf("the last event was played %v ahead of its time", early)
	}
}

func TestPlayEndsWithServerAndContext(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := s.Play(ctx, esltest.Playback{Recordings: load(t, "01-single-pcmu"), Rounds: -1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { s.Close() })
	if _, err := s.Play(t.Context(), esltest.Playback{Recordings: load(t, "01-single-pcmu"), Speed: 1}); !errors.Is(err, esltest.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s := start(t, esltest.Config{Heartbeat: 5 * time.Millisecond})
	got := sink(t, s)
	for s.Stats().Played < 3 {
		time.Sleep(time.Millisecond)
	}
	s.Disconnect()
	for _, id := range <-got {
		if string(id.Name) != event.Heartbeat {
			t.Errorf("got %s", id.Name)
		}
	}
}
