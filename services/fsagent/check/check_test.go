package check_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/freeport"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/fsagent/fsagent/services/fsagent/check"
)

// perfect is a FreeSWITCH that is set up for call quality.
func perfect() esltest.Config {
	return esltest.Config{
		Heartbeat: 20 * time.Second,
		Globals:   map[string]string{"fire_rtcp_events": "true"},
		Profiles:  map[string]map[string]string{"internal": {"rtcp-audio-interval-msec": "5000", "sip-port": "5060"}},
	}
}

func newServer(t *testing.T, cfg esltest.Config) *esltest.Server {
	t.Helper()
	s, err := esltest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// config is of one FreeSWITCH, with an OTLP receiver and the embedded server.
func config(t *testing.T, s *esltest.Server) fsagent.Config {
	t.Helper()
	receiver, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(receiver.Close)
	cfg := fsagent.DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.Collector.Instances = collector.Instances{{Name: "fs1", Host: "127.0.0.1", Port: s.Addr().Port, Password: esltest.DefaultPassword}}
	cfg.OpenTelemetry.Endpoint = receiver.Addr()
	cfg.OpenTelemetry.Insecure = new(true)
	return cfg
}

// find returns the finding about one subject.
func find(t *testing.T, r check.Report, subject string) check.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Subject == subject {
			return f
		}
	}
	t.Errorf("nothing is said about %s in %+v", subject, r.Findings)
	return check.Finding{}
}

// talk sends RTCP events until the test ends.
func talk(t *testing.T, s *esltest.Server, names ...string) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	at := time.Now().UnixMicro()
	s.Send(fmt.Appendf(nil, "Event-Name: CHANNEL_CREATE\nCore-UUID: c\nEvent-Date-Timestamp: %d\nEvent-Sequence: 1\nUnique-ID: u\nvariable_uuid: u\n\n", at))
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			for _, name := range names {
				s.Send(fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: c\nEvent-Date-Timestamp: %d\nEvent-Sequence: 2\nUnique-ID: u\n\n", name, at))
			}
		}
	}()
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	s := newServer(t, perfect())
	talk(t, s, event.RecvRTCP, event.SendRTCP)
	r := check.Run(t.Context(), config(t, s), check.Options{Wait: 2 * time.Second})
	for _, f := range r.Findings {
		if f.Status != check.OK || f.Advice != "" {
			t.Errorf("got %+v", f)
		}
	}
	for subject, text := range map[string]string{
		"event socket": "password are right", "events": "16 kinds", "version": "1.11.3", "snapshot": "1 channels are up", "clock": "ahead of",
		"fire_rtcp_events": "all calls", "RTCP interval": "internal: 5000 ms", "RTCP events": "both directions", "heartbeat": "every 20s",
		"embedded server": "can keep", "endpoint": "takes metrics",
	} {
		if f := find(t, r, subject); !strings.Contains(f.Text, text) {
			t.Errorf("%s: got %q, want it to say %q", subject, f.Text, text)
		}
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil || !r.OK {
		t.Fatalf("got %v, %v", r.OK, err)
	}
	var back check.Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Findings) != len(r.Findings) || !back.OK {
		t.Errorf("JSON: got %v, %v", back, err)
	}
	b.Reset()
	if err := r.Write(&b); err != nil || !strings.HasPrefix(b.String(), "FreeSWITCH fs1\n  ok       event socket ") {
		t.Errorf("text: got %v\n%s", err, b.String())
	}
}

// Each setting that is missing is named, with what to do.
func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	limited := esltest.User{Password: "pw", API: []string{"version"}}
	user := func(c *fsagent.Config) {
		c.Collector.Instances[0].User, c.Collector.Instances[0].Password = "fsagent@example.com", "pw"
	}
	for _, tc := range []struct {
		name, subject string
		server        func(*esltest.Config)
		mode          esltest.Mode
		config        func(*fsagent.Config)
		talk          []string
		status        check.Status
		text, advice  string
	}{
		{name: "wrong password", subject: "event socket", mode: esltest.RefusingAuth, status: check.Failed, text: "authentication refused", advice: "password"},
		{name: "access list", subject: "event socket", mode: esltest.Rejecting, status: check.Failed, text: "access list", advice: "apply-inbound-acl"},
		{name: "not an event socket", subject: "event socket", mode: esltest.Foreign, status: check.Failed, text: "not a FreeSWITCH", advice: "8021"},
		{name: "silent", subject: "event socket", mode: esltest.Silent, config: func(c *fsagent.Config) { c.Collector.ESL.ReplyTimeout = 50 * time.Millisecond }, status: check.Failed, text: "no answer", advice: "firewall"},
		{name: "events denied", subject: "events", config: user, server: func(c *esltest.Config) {
			c.Users = map[string]esltest.User{"fsagent@example.com": {Password: "pw", Events: []string{"HEARTBEAT"}}}
		}, status: check.Failed, text: "permission denied", advice: "esl-allowed-events"},
		{name: "snapshot denied", subject: "snapshot", config: user, server: func(c *esltest.Config) { c.Users = map[string]esltest.User{"fsagent@example.com": limited} },
			status: check.Missing, text: "stay open", advice: "esl-allowed-api"},
		{name: "clock denied", subject: "clock", config: user, server: func(c *esltest.Config) { c.Users = map[string]esltest.User{"fsagent@example.com": limited} },
			status: check.Unknown, text: "cannot be read", advice: "strmicroepoch"},
		{name: "clock ahead", subject: "clock", server: func(c *esltest.Config) { c.ClockOffset = time.Minute + time.Second/2 }, status: check.Missing, text: "1m0", advice: "set the clock"},
		{name: "clock behind", subject: "clock", server: func(c *esltest.Config) { c.ClockOffset = -time.Hour - time.Second/2 }, status: check.Missing, text: "-1h0m0", advice: "set the clock"},
		{name: "clock far ahead", subject: "clock", server: func(c *esltest.Config) { c.ClockOffset = time.Hour }, status: check.Failed, text: "parked", advice: "set the clock"},
		{name: "variable unset", subject: "fire_rtcp_events", server: func(c *esltest.Config) { c.Globals = nil }, status: check.Missing, text: "inbound", advice: "export"},
		{name: "no interval", subject: "RTCP interval", server: func(c *esltest.Config) { c.Profiles["internal"] = nil }, status: check.Missing, text: "sets none", advice: "rtcp-audio-interval-msec"},
		{name: "passthru", subject: "RTCP interval", server: func(c *esltest.Config) { c.Profiles["internal"]["rtcp-audio-interval-msec"] = "passthru" }, status: check.Missing, text: "passes RTCP on", advice: "5000"},
		{name: "interval too short", subject: "RTCP interval", server: func(c *esltest.Config) { c.Profiles["internal"]["rtcp-audio-interval-msec"] = "50" }, status: check.Missing, text: "5000 ms", advice: "5000"},
		{name: "profiles denied", subject: "RTCP interval", config: user, server: func(c *esltest.Config) {
			c.Users = map[string]esltest.User{"fsagent@example.com": {Password: "pw", API: []string{"sofia"}}}
		}, status: check.Unknown, text: "internal cannot be read", advice: "xml_locate"},
		{name: "no profile", subject: "RTCP interval", server: func(c *esltest.Config) { c.Profiles = nil }, status: check.Unknown, text: "no SIP profile"},
		{name: "no calls", subject: "RTCP events", status: check.Unknown, text: "no calls", advice: "during a call"},
		{name: "no RTCP", subject: "RTCP events", talk: []string{"CODEC"}, status: check.Missing, text: "0 RECV_RTCP_MESSAGE and 0 SEND_RTCP_MESSAGE, with 1 channels", advice: "rtcp-audio"},
		{name: "outbound only", subject: "RTCP events", talk: []string{event.RecvRTCP}, status: check.Missing, text: "outbound media only", advice: "fire_rtcp_events"},
		{name: "inbound only", subject: "RTCP events", talk: []string{event.SendRTCP}, status: check.Missing, text: "inbound media only", advice: "firewall"},
		{name: "switched off", subject: "RTCP events", config: func(c *fsagent.Config) { c.Collector.Events.RTCP = false }, status: check.Missing, text: "switched off", advice: "events.rtcp"},
		{name: "slow heartbeat", subject: "heartbeat", server: func(c *esltest.Config) { c.Heartbeat = time.Minute }, status: check.Missing, text: "every 1m0s", advice: "idle_timeout"},
		{name: "no endpoint", subject: "endpoint", config: func(c *fsagent.Config) { c.OpenTelemetry.Endpoint = "127.0.0.1:1" }, status: check.Failed, text: "127.0.0.1:1", advice: "OpenTelemetry Collector"},
		{name: "no NATS", subject: "server", config: func(c *fsagent.Config) { c.NATS.URL = "nats://127.0.0.1:1" }, status: check.Failed, text: "nats://127.0.0.1:1", advice: "nats.url"},
		{name: "no data directory", subject: "embedded server", config: func(c *fsagent.Config) { c.DataDir = "/proc/self/status" }, status: check.Failed, text: "status", advice: "data_dir"},
		{name: "data directory comes", subject: "embedded server", config: func(c *fsagent.Config) { c.DataDir += "/new" }, status: check.OK, text: "made at the first start"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			scfg := perfect()
			if tc.server != nil {
				tc.server(&scfg)
			}
			s := newServer(t, scfg)
			s.SetMode(tc.mode)
			if tc.talk != nil {
				talk(t, s, tc.talk...)
			}
			cfg := config(t, s)
			if tc.config != nil {
				tc.config(&cfg)
			}
			wait := 200 * time.Millisecond
			if tc.talk != nil { // what is said to be missing must have had the time to come
				wait = 2 * time.Second
			}
			r := check.Run(t.Context(), cfg, check.Options{Wait: wait})
			f := find(t, r, tc.subject)
			if f.Status != tc.status || !strings.Contains(f.Text, tc.text) || !strings.Contains(f.Advice, tc.advice) || (tc.advice == "") != (f.Advice == "") {
				t.Errorf("got %+v, want %s, %q and %q", f, tc.status, tc.text, tc.advice)
			}
			if bad := f.Status == check.Failed || f.Status == check.Missing; bad && r.OK {
				t.Error("the report as a whole is ok")
			}
		})
	}
}

func TestNATSElsewhere(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	s := newServer(t, perfect())
	cfg := config(t, s)
	cfg.NATS.URL = srv.URL()
	look := func() check.Finding { return find(t, check.Run(t.Context(), cfg, check.Options{}), "streams") }
	if f := look(); f.Status != check.OK || !strings.Contains(f.Text, "not there yet") {
		t.Errorf("before: got %+v", f)
	}
	srv.JetStream(stream.DefaultSettings())
	if f := look(); f.Status != check.OK || !strings.Contains(f.Text, "are there") {
		t.Errorf("after: got %+v", f)
	}
	cfg.Storage.EventsMaxAge = 48 * time.Hour
	if f := find(t, check.Run(t.Context(), cfg, check.Options{}), "limits"); f.Status != check.OK || !strings.Contains(f.Text, "24h0m0s") || !strings.Contains(f.Advice, "limits --apply") {
		t.Errorf("another limit: got %+v", f)
	}
	cfg.Storage.Storage = stream.Memory
	if f := look(); f.Status != check.Failed || !strings.Contains(f.Text, "storage") {
		t.Errorf("other settings: got %+v", f)
	}
}

// A FreeSWITCH that is down does not keep the others waiting.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := newServer(t, perfect())
	cfg := config(t, s)
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Collector.Instances = append(cfg.Collector.Instances, collector.Instance{Name: "fs2", Host: "127.0.0.1", Port: port, Password: "x"})
	r := check.Run(t.Context(), cfg, check.Options{})
	for _, f := range r.Findings {
		if f.Target == "FreeSWITCH fs2" && (f.Status != check.Failed || !strings.Contains(f.Text, "refused")) {
			t.Errorf("got %+v", f)
		}
	}
	if r.OK {
		t.Error("ok with one of two down")
	}
}
