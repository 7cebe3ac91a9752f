package esl_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
)

var names = []string{
	event.ChannelCreate, event.ChannelAnswer, event.ChannelBridge, event.ChannelUnbridge, event.ChannelHold,
	event.ChannelUnhold, event.ChannelProgressMedia, event.ChannelHangupComplete, event.ChannelDestroy,
	event.Heartbeat, event.Shutdown, event.RecvRTCP, event.SendRTCP,
}

func dialConfig(address string) esl.Config {
	return esl.Config{
		Address: address, Password: esltest.DefaultPassword, Events: names,
		DialTimeout: time.Minute, ReplyTimeout: time.Minute,
		IdleTimeout: time.Minute, ProbeTimeout: time.Minute,
	}
}

func start(t testing.TB, cfg esltest.Config) *esltest.Server {
	t.Helper()
	s, err := esltest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func load(t testing.TB, name string) *recording.Recording {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryRecordingComesThrough(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		srv := start(t, esltest.Config{})
		cfg := dialConfig(srv.Addr().String())
		cfg.Events = []string{"ALL"}
		conn, err := esl.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		rec := load(t, name)
		played := make(chan error, 1)
		go func() {
			_, err := srv.Play(t.Context(), esltest.Playback{Recordings: []*recording.Recording{rec}, Clients: 1})
			played <- err
		}()
		for i, want := range rec.Events() {
			f, err := conn.Next()
			if err != nil {
				t.Fatalf("%s, event %d: %v", name, i, err)
			}
			if f.Type != esl.EventPlain || !bytes.Equal(f.Body, want) {
				t.Fatalf("%s, event %d differs:\n%s\nwant:\n%s", name, i, f.Body, want)
			}
		}
		if err := <-played; err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	users := map[string]esltest.User{"monitor@example.com": {Password: "pw", Events: []string{event.Heartbeat}}}
	for _, tc := range []struct {
		name   string
		mode   esltest.Mode
		change func(*esl.Config)
		want   error
	}{
		{"accepted", esltest.Normal, func(*esl.Config) {}, nil},
		{"wrong password", esltest.Normal, func(c *esl.Config) { c.Password = "no" }, esl.ErrAuth},
		{"refusing", esltest.RefusingAuth, func(*esl.Config) {}, esl.ErrAuth},
		{"access list", esltest.Rejecting, func(*esl.Config) {}, esl.ErrRejected},
		{"silent", esltest.Silent, func(*esl.Config) {}, esl.ErrTimeout},
		{"deaf", esltest.Deaf, func(*esl.Config) {}, esl.ErrTimeout},
		{"another protocol", esltest.Foreign, func(*esl.Config) {}, esl.ErrNotESL},
		{"unknown events only", esltest.Normal, func(c *esl.Config) { c.Events = []string{"NO_SUCH"} }, esl.ErrRefused},
		{"user", esltest.Normal, func(c *esl.Config) {
			c.User, c.Domain, c.Password, c.Events = "monitor", "example.com", "pw", []string{event.Heartbeat}
		}, nil},
		{"user with domain in one", esltest.Normal, func(c *esl.Config) {
			c.User, c.Password, c.Events = "monitor@example.com", "pw", []string{event.Heartbeat}
		}, nil},
		{"user without permission", esltest.Normal, func(c *esl.Config) {
			c.User, c.Domain, c.Password = "monitor", "example.com", "pw"
		}, esl.ErrPermission},
		{"unknown user", esltest.Normal, func(c *esl.Config) { c.User, c.Domain = "nobody", "example.com" }, esl.ErrAuth},
		{"password with a command", esltest.Normal, func(c *esl.Config) { c.Password = "x\n\napi shutdown" }, esl.ErrLineBreak},
		{"event with a command", esltest.Normal, func(c *esl.Config) { c.Events = []string{"ALL\r\n\r\napi shutdown"} }, esl.ErrLineBreak},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, esltest.Config{Users: users})
			srv.SetMode(tc.mode)
			cfg := dialConfig(srv.Addr().String())
			if errors.Is(tc.want, esl.ErrTimeout) {
				cfg.ReplyTimeout = 50 * time.Millisecond
			}
			tc.change(&cfg)
			conn, err := esl.Dial(t.Context(), cfg)
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if err == nil {
				conn.Close()
			} else if strings.Contains(err.Error(), string(cfg.Password)) {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := start(t, esltest.Config{})
	srv.SetMode(esltest.Silent)
	cfg := dialConfig(srv.Addr().String())
	cfg.ReplyTimeout = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		for srv.Stats().Accepted == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel(why)
	}()
	if _, err := esl.Dial(ctx, cfg); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

func TestSilenceIsProbed(t *testing.T) {
	t.Parallel()
	srv := start(t, esltest.Config{})
	cfg := dialConfig(srv.Addr().String())
	cfg.IdleTimeout, cfg.ProbeTimeout = 20*time.Millisecond, time.Minute
	conn, err := esl.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 { // answers to probes
		if f, err := conn.Next(); err != nil || f.Type != esl.CommandReply {
			t.Fatalf("got type %v, %v, want the reply to a probe", f.Type, err)
		}
	}
	cfg.ProbeTimeout = 50 * time.Millisecond
	dead, err := esl.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	srv.Mute()
	for err == nil {
		_, err = dead.Next()
	}
	if !errors.Is(err, esl.ErrIdle) {
		t.Errorf("got %v, want ErrIdle", err)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	half := []byte("Content-Length: 1000\nContent-Type: text/event-plain\n\nEvent-Name: HEARTBEAT\n")
	for _, tc := range []struct {
		name string
		do   func(*esltest.Server)
		want error
	}{
		{"cut", func(s *esltest.Server) { s.Cut() }, io.EOF},
		{"notice", func(s *esltest.Server) { s.Disconnect() }, esl.ErrDisconnected},
		{"cut in a frame", func(s *esltest.Server) { s.Inject(half); s.Cut() }, esl.ErrTruncated},
		{"garbage", func(s *esltest.Server) { s.Inject(bytes.Repeat([]byte{0, 255, '\n'}, 1000)) }, esl.ErrNotESL},
		{"lost framing", func(s *esltest.Server) { s.Inject([]byte("Content-Type: text/event-plain\nContent-Length: x\n\n")) }, esl.ErrContentLength},
		{"a GiB", func(s *esltest.Server) {
			s.Inject([]byte("Content-Length: 1073741824\nContent-Type: text/event-plain\n\n"))
		}, esl.ErrBodyTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, esltest.Config{})
			conn, err := esl.Dial(t.Context(), dialConfig(srv.Addr().String()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := srv.WaitForClient(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			tc.do(srv)
			for err == nil {
				_, err = conn.Next()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	srv := start(t, esltest.Config{})
	cfg := dialConfig(srv.Addr().String())
	out, err := ask(t, cfg, "show", "channels as json")
	if err != nil || string(out) != `{"row_count":0}` {
		t.Errorf("show channels: got %s, %v", out, err)
	}
	rec := load(t, "08a-before-kill") // nine channels that never end
	if _, err := srv.Play(t.Context(), esltest.Playback{Recordings: []*recording.Recording{rec}}); err != nil {
		t.Fatal(err)
	}
	out, err = ask(t, cfg, "show", "channels as json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Count int                 `json:"row_count"`
		Rows  []map[string]string `json:"rows"`
	}
	if err := json.Unmarshal(out, &list); err != nil || list.Count != 9 || len(list.Rows) != 9 {
		t.Fatalf("show channels: got %s, %v, want 9 rows", out, err)
	}
	out, err = ask(t, cfg, "uuid_dump", list.Rows[0]["uuid"]+" json")
	if err != nil {
		t.Fatal(err)
	}
	var dump map[string]any
	if err := json.Unmarshal(out, &dump); err != nil {
		t.Fatal(err)
	}
	if dump["Event-Name"] != event.ChannelData || dump["Unique-ID"] != list.Rows[0]["uuid"] || dump["variable_direction"] == nil {
		t.Errorf("uuid_dump: got %v", dump)
	}
	for _, c := range [][2]string{{"uuid_dump", "nobody json"}, {"no_such_command", "x"}} {
		if _, err := ask(t, cfg, c[0], c[1]); !errors.Is(err, esl.ErrRefused) {
			t.Errorf("%v: got %v, want ErrRefused", c, err)
		}
	}
	if _, err := ask(t, cfg, "status", "\n\nexit"); !errors.Is(err, esl.ErrLineBreak) {
		t.Errorf("got %v, want ErrLineBreak", err)
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	p := struct{ P esl.Password }{"hunter2"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "p", p.P, "all", p)
	j, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(p), fmt.Sprintf("%+v %#v %s %q %v", p, p, p.P, p.P, p.P), log.String(), string(j)} {
		if strings.Contains(s, "hunter2") || !strings.Contains(s, "***") {
			t.Errorf("got %s", s)
		}
	}
}

// ask runs one command on a connection of its own.
func ask(t *testing.T, cfg esl.Config, name, arguments string) ([]byte, error) {
	t.Helper()
	cfg.Events = nil
	c, err := esl.Dial(t.Context(), cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.API(name, arguments)
}

// slow is a server that answers auth, and then one command with pieces of an output
// of 100 bytes.
func slow(t *testing.T, pieces int, pause time.Duration) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewReader(conn)
		say := func(s string) { _, _ = io.WriteString(conn, s) }
		hear := func() { // a command and an empty line
			for range 2 {
				_, _ = lines.ReadString('\n')
			}
		}
		say("Content-Type: auth/request\n\n")
		hear()
		say("Content-Type: command/reply\nReply-Text: +OK accepted\n\n")
		hear()
		say("Content-Type: api/response\nContent-Length: 100\n\n")
		for range pieces {
			time.Sleep(pause)
			say("0123456789")
		}
		_, _ = lines.ReadString('\n') // until the client goes
	}()
	return ln.Addr().String()
}

// An output may take longer than ReplyTimeout as long as more of it comes.
func TestSlowOutput(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		pieces int
		want   error
	}{{"all of it", 10, nil}, {"a part", 5, esl.ErrTimeout}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := dialConfig(slow(t, tc.pieces, 300*time.Millisecond))
			cfg.Events, cfg.ReplyTimeout = nil, 2*time.Second
			conn, err := esl.Dial(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			out, err := conn.API("show", "channels as json")
			if !errors.Is(err, tc.want) || err == nil && len(out) != 100 {
				t.Errorf("got %d bytes, %v; want %v", len(out), err, tc.want)
			}
		})
	}
}
