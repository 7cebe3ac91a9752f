package collector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

func health(t *testing.T, c *collector.Collector) collector.HealthReport {
	t.Helper()
	h, ok := c.Health().(collector.HealthReport)
	if !ok {
		t.Fatalf("got %T", c.Health())
	}
	return h
}

// The server goes away and comes back on the same data while events flow:
// everything is there, once, in order.
func TestNATSRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	c, stop := collect(t, config(instance("fs1", fs)), r.srv.Connect())
	recs := load(t, "05-load-80-calls")
	events := want(t, recs)
	played := make(chan error, 1)
	go func() {
		_, err := fs.Play(t.Context(), esltest.Playback{Recordings: recs, Clients: 1, Speed: 15})
		played <- err
	}()
	for i := range 2 {
		enough := uint64((i + 1) * 1000)
		eventually(t, "some are published", func() bool { return c.Stats().Published >= enough })
		restart := r.srv.Stop()
		eventually(t, "NATS is missed", func() bool { return c.Ready() != nil })
		restart()
		eventually(t, "NATS is back", func() bool { return c.Ready() == nil })
	}
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all events published", func() bool { return c.Stats().Published == uint64(len(events)) })
	stop()
	got := r.stored()
	for i := range min(len(got), len(events)) {
		if !bytes.Equal(got[i].Data, events[i]) {
			t.Fatalf("message %d differs:\n%s\nwant:\n%s", i, got[i].Data, events[i])
		}
	}
	if len(got) != len(events) {
		t.Fatalf("got %d messages, want %d", len(got), len(events))
	}
	if st := c.Stats(); len(st.Dropped) != 0 {
		t.Errorf("dropped: %v", st.Dropped)
	}
}

// With NATS stopped the switch is drained as fast as it writes, lifecycle events
// are kept as long as there is room, and the gap is told when NATS is back.
func TestReaderNeverWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.Events.BufferBytes = 8 << 20
	c, stop := collect(t, cfg, r.srv.Connect())
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	restart := r.srv.Stop()
	eventually(t, "NATS is missed", func() bool { return c.Ready() != nil })

	recs := load(t, "05-load-80-calls")
	const copies = 10
	watch, stopWatch := context.WithCancel(t.Context())
	late := lateness(watch)
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1, Copies: copies, Stagger: time.Second})
	total := uint64(copies * len(want(t, recs)))
	eventually(t, "everything was read", func() bool { return c.Stats().EventsRead == total })
	stopWatch()
	control := late()
	// Server and collector wait for the processor in turn, as the sleeper does once.
	if block := fs.Stats().Clients[0].LongestBlock; block > 100*time.Millisecond+4*control {
		t.Errorf("the switch had to wait %v for one write, a goroutine that only sleeps %v", block, control)
	}
	st := c.Stats()
	if st.Published != 0 || st.Dropped["buffer_full"] == 0 || st.BufferedBytes > cfg.Events.BufferBytes {
		t.Errorf("with NATS away: %+v", st)
	}
	restart()
	eventually(t, "the rest was published", func() bool {
		st := c.Stats()
		return st.Published+st.Dropped["buffer_full"] == total && st.BufferedBytes == 0
	})
	eventually(t, "a snapshot makes up for it", func() bool { return fs.Stats().Commands["show"] > 1 })
	stop()
	dropped := c.Stats().Dropped["buffer_full"]
	reports, lifecycle := checkGaps(t, r.stored(), dropped)
	if lifecycle != 0 && reports != 0 {
		t.Errorf("%d reports were kept while %d lifecycle events were dropped", reports, lifecycle)
	}
}

// The collector is stopped as soon as NATS is back: what was dropped is told.
func TestGapIsToldBeforeTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.Events.BufferBytes = 256 << 10
	c, stop := collect(t, cfg, r.srv.Connect())
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	restart := r.srv.Stop()
	eventually(t, "NATS is missed", func() bool { return c.Ready() != nil })
	recs := load(t, "05-load-80-calls")
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
	total := uint64(len(want(t, recs)))
	eventually(t, "everything was read", func() bool { return c.Stats().EventsRead == total })
	restart()
	stop()
	st := c.Stats()
	if st.Published+st.Dropped["buffer_full"] != total || st.Dropped["stopped"] != 0 {
		t.Errorf("got %+v, want %d in all", st, total)
	}
	checkGaps(t, r.stored(), st.Dropped["buffer_full"])
}

// checkGaps compares what FSAGENT_GAP says in each partition with what was dropped.
// It returns how many reports are in the stream and how many lifecycle events are not.
func checkGaps(t *testing.T, stored []*jetstream.RawStreamMsg, dropped uint64) (reports, lifecycleDropped int) {
	t.Helper()
	told := make(map[string]uint64) // by subject
	for i, m := range stored {
		e, err := event.Parse(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		switch string(e.ID().Name) {
		case event.RecvRTCP, event.SendRTCP:
			reports++
		case event.Gap:
			if i >= partitions {
				t.Errorf("a gap is message %d, want it before everything that was kept", i)
			}
			v, _ := e.Header(collector.HeaderGapCount)
			n, ok := event.Uint(v)
			if !ok || e.Text(collector.HeaderGapInstance) != "fs1" {
				t.Errorf("gap:\n%s", m.Data)
			}
			told[m.Subject] += n
			lifecycleDropped = 0
			for name, v := range e.All() {
				if strings.HasPrefix(string(name), collector.HeaderGapCountOf+"CHANNEL_") {
					n, _ := event.Uint(v)
					lifecycleDropped += int(n)
				}
			}
		}
	}
	if len(told) != partitions {
		t.Errorf("gaps are told to %d partitions, want %d", len(told), partitions)
	}
	for subject, n := range told {
		if n != dropped {
			t.Errorf("%s: %d are told, %d were dropped", subject, n, dropped)
		}
	}
	return reports, lifecycleDropped
}

func TestTwoCollectorsGiveOneCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.Publish.AckTimeout = time.Minute // what is published again is a duplicate as well
	a, stopA := collect(t, cfg, r.srv.Connect())
	b, stopB := collect(t, cfg, r.srv.Connect())
	recs := load(t, "02-bridged-pcmu", "07-failed")
	events := want(t, recs)
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 2})
	n := uint64(len(events))
	eventually(t, "both have published all", func() bool { return a.Stats().Published == n && b.Stats().Published == n })
	stopA()
	stopB()
	if got := r.stored(); len(got) != len(events) {
		t.Errorf("got %d messages, want %d", len(got), len(events))
	}
	if got := a.Stats().Duplicates + b.Stats().Duplicates; got != n {
		t.Errorf("got %d duplicates, want %d", got, n)
	}
}

func TestManyServers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var instances []collector.Instance
	var servers []*esltest.Server
	names := []string{"01-single-pcmu", "06a-hold", "10a-shutdown"}
	for i := range names {
		fs := newFreeSWITCH(t, esltest.Config{})
		servers = append(servers, fs)
		instances = append(instances, instance(fmt.Sprintf("fs%d", i), fs))
	}
	c, stop := collect(t, config(instances...), r.srv.Connect())
	// A server that closes with a command unread takes back what it has sent last.
	eventually(t, "all have a snapshot", func() bool { return c.Stats().Made == uint64(len(servers)*partitions) })
	total := uint64(0)
	for i, fs := range servers {
		recs := load(t, names[i])
		total += uint64(len(want(t, recs)))
		play(t, fs, esltest.Playback{Recordings: recs, Clients: 1, Disconnect: true})
	}
	eventually(t, "all events published", func() bool { return c.Stats().Published == total })
	stop()
	for _, m := range r.stored() {
		if !strings.Contains(m.Subject, ".fs") {
			t.Errorf("subject %s", m.Subject)
		}
	}
}

func TestSecretsStayOnTheSwitch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.Events.Variables = "*"
	c, stop := collect(t, cfg, r.srv.Connect())
	recs := load(t, "02-bridged-pcmu", "06b-refer-transfer", "07-failed")
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
	fs.Send([]byte("Event-Name: CHANNEL_ANSWER\nCore-UUID: c\nEvent-Date-Timestamp: 1\nEvent-Sequence: 1\nUnique-ID: u\n" +
		"variable_rtp_last_audio_local_crypto_key: LEAK\nvariable_switch_r_sdp: LEAK\nvariable_sip_auth_password: LEAK\n" +
		"variable_digits_dialed: LEAK\nvariable_sip_h_X-Pin: LEAK\nvariable_last_arg: LEAK\nvariable_harmless: kept\nContent-Length: 4\n\nLEAK"))
	n := uint64(len(want(t, recs)) + 1)
	eventually(t, "all events published", func() bool { return c.Stats().Published == n })
	stop()
	kept := false
	for _, m := range r.all() {
		for _, never := range []string{"LEAK", "a%3Drtpmap", "v%3D0", "variable_sip_h_", "digits", "crypto"} {
			if bytes.Contains(m.Data, []byte(never)) {
				t.Errorf("%s is in the stream:\n%s", never, m.Data)
			}
		}
		kept = kept || bytes.Contains(m.Data, []byte("variable_harmless: kept\n"))
	}
	if !kept {
		t.Error("what was asked for is not in the stream")
	}
}

func TestBadEventsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	c, stop := collect(t, config(instance("fs1", fs)), r.srv.Connect())
	if err := fs.WaitForClient(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	frame := func(raw string) {
		fs.Inject(fmt.Appendf(nil, "Content-Length: %d\nContent-Type: text/event-plain\n\n%s", len(raw), raw))
	}
	frame("Event-Name: HEARTBEAT\n\n")
	frame("nonsense")
	frame("")
	const id = "Core-UUID: c\nEvent-Date-Timestamp: 1\nEvent-Sequence: %d\n"
	frame(fmt.Sprintf("Event-Name: a.b > *\n"+id+"\n", 1))                                                           // no subject could be made of it
	frame(fmt.Sprintf("Event-Name: CHANNEL_CREATE\n"+id+"Unique-ID: a.b%%20c > %%zz\n\n", 2))                        // an id of dots and spaces
	frame(fmt.Sprintf("Event-Name: HEARTBEAT\n"+id+"Up-Time: %s\n\n", 3, strings.Repeat("x", 2<<20)))                // more than NATS takes
	frame(fmt.Sprintf("Event-Name: CHANNEL_ANSWER\n"+id+"Caller-ANI: %s\n\n", 4, strings.Repeat("y", 200<<10)))      // 200 KB are fine
	frame(fmt.Sprintf("Event-Name: CHANNEL_DESTROY\n"+id+"Unique-ID: \nvariable_a:b:c: d\nvariable_uuid: e\n\n", 5)) // empty id
	eventually(t, "the good ones are published", func() bool { return c.Stats().Published == 4 })
	fs.Inject([]byte("Content-Length: 99999999999\n\n"))
	eventually(t, "all are counted", func() bool {
		st := c.Stats()
		return st.Rejected["malformed"] == 3 && st.Rejected["too_large"] == 1 && st.Rejected["bad_content_length"] == 1
	})
	eventually(t, "connected again", func() bool { return c.Ready() == nil && fs.Stats().Accepted > 1 })
	stop()
	if got := r.stored(); len(got) != 4 || c.Stats().BufferedBytes != 0 {
		t.Errorf("got %d messages, %+v", len(got), c.Stats())
	}
}

func TestStateOfConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good, acl, auth, silent := newFreeSWITCH(t, esltest.Config{}), newFreeSWITCH(t, esltest.Config{}), newFreeSWITCH(t, esltest.Config{}), newFreeSWITCH(t, esltest.Config{})
	acl.SetMode(esltest.Rejecting)
	silent.SetMode(esltest.Silent)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := instance("auth", auth)
	bad.Password, bad.PasswordFile = "", file
	down := collector.Instance{Name: "down", Host: "127.0.0.1", Port: freePort(t), Password: esltest.DefaultPassword}
	cfg := config(instance("good", good), instance("acl", acl), bad, instance("silent", silent), down)
	cfg.ESL.ReplyTimeout = time.Second // of the silent one
	c, _ := collect(t, cfg, r.srv.Connect())
	for name, text := range map[string]string{
		"acl": esl.ErrRejected.Error(), "auth": esl.ErrAuth.Error(), "silent": esl.ErrTimeout.Error(), "down": "refused",
	} {
		eventually(t, name+" is told", func() bool { return strings.Contains(health(t, c).Connections[name].LastError, text) })
	}
	eventually(t, "one is connected", func() bool { return health(t, c).Connections["good"].Connected })
	if h := health(t, c); h.Status != "degraded" || c.Ready() != nil {
		t.Errorf("got %+v, %v", h, c.Ready())
	}
	b, err := json.Marshal(c.Health())
	if err != nil || !bytes.Contains(b, []byte(`"good":{"connected":true,"last_event":"","last_error":""}`)) {
		t.Errorf("got %s, %v", b, err)
	}

	// What a person mends, and the switch that starts late, is found.
	if err := os.WriteFile(file, []byte(esltest.DefaultPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	acl.SetMode(esltest.Normal)
	silent.SetMode(esltest.Normal)
	newFreeSWITCH(t, esltest.Config{Address: fmt.Sprintf("127.0.0.1:%d", down.Port)})
	eventually(t, "all are connected", func() bool { return health(t, c).Status == "ok" })
	good.Restart("another")
	eventually(t, "connected again", func() bool { return good.Stats().Accepted > 2 && health(t, c).Status == "ok" })
}

func TestStopPublishesWhatWasRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	c, stop := collect(t, config(instance("fs1", fs)), r.srv.Connect())
	recs := load(t, "05-load-80-calls")
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
	n := uint64(len(want(t, recs)))
	eventually(t, "everything was read", func() bool { return c.Stats().EventsRead == n })
	stop()
	if st := c.Stats(); st.Published != n || st.BufferedBytes != 0 || len(r.stored()) != int(n) {
		t.Errorf("got %+v, want %d published", st, n)
	}
}

func TestStopWithoutNATS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.Publish.StopTimeout = 50 * time.Millisecond
	c, stop := collect(t, cfg, r.srv.Connect())
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	r.srv.Stop()
	eventually(t, "NATS is missed", func() bool { return c.Ready() != nil })
	recs := load(t, "01-single-pcmu")
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
	n := uint64(len(want(t, recs)))
	eventually(t, "everything was read", func() bool { return c.Stats().EventsRead == n })
	stop()
	if st := c.Stats(); st.Dropped["stopped"] != n {
		t.Errorf("got %+v, want %d dropped", st, n)
	}
}

// The stream does not exist yet: events wait for it.
func TestStreamComesLate(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	c, stop := collect(t, cfg, srv.Connect())
	recs := load(t, "01-single-pcmu")
	events := want(t, recs)
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
	eventually(t, "everything was read", func() bool { return c.Stats().EventsRead == uint64(len(events)) })
	r := &rig{t: t, srv: srv, js: srv.JetStream(settings())}
	eventually(t, "all events published", func() bool { return c.Stats().Published == uint64(len(events)) })
	stop()
	if got := r.stored(); len(got) != len(events) {
		t.Errorf("got %d messages, want %d", len(got), len(events))
	}
}

// NATS is down when the collector starts.
func TestNATSComesLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.srv.URL()
	restart := r.srv.Stop()
	nc, err := stream.Connect(stream.Connection{URL: url}, t.Name(), natstest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	fs := newFreeSWITCH(t, esltest.Config{})
	c, stop := collect(t, config(instance("fs1", fs)), nc)
	recs := load(t, "01-single-pcmu")
	events := want(t, recs)
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
	eventually(t, "everything was read", func() bool { return c.Stats().EventsRead == uint64(len(events)) })
	if err := c.Ready(); !errors.Is(err, collector.ErrNotReady) {
		t.Errorf("without NATS: got %v, want ErrNotReady", err)
	}
	restart()
	eventually(t, "all events published", func() bool { return c.Stats().Published == uint64(len(events)) })
	stop()
	if got := r.stored(); len(got) != len(events) {
		t.Errorf("got %d messages, want %d", len(got), len(events))
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reg := prometheus.NewPedanticRegistry()
	cfg := config(collector.Instance{Name: "a", Host: "h", Password: "x"}, collector.Instance{Name: "b", Host: "h", Password: "x"})
	if _, err := collector.New(cfg, r.srv.Connect(), partitions, natstest.Logger(t), reg); err != nil {
		t.Fatal(err)
	}
	got, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, m := range got {
		have[m.GetName()] = true
	}
	for _, name := range []string{"fsagent_events_received_total", "fsagent_events_published_total", "fsagent_events_dropped_total",
		"fsagent_fs_connections", "fsagent_buffer_bytes", "fsagent_publish_lag_seconds"} {
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if _, err := collector.New(cfg, r.srv.Connect(), partitions, natstest.Logger(t), reg); err == nil {
		t.Error("a second collector on one registry was made")
	}
}

// What comes after a connect is kept back for a while, so that another collector
// can publish what came before it; but not longer than the collector runs.
func TestJoinDelay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		delay time.Duration
		wait  bool // until it is over
	}{{"over", time.Second, true}, {"stopped before", time.Minute, false}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			fs := newFreeSWITCH(t, esltest.Config{})
			cfg := config(instance("fs1", fs))
			cfg.Publish.JoinDelay = tc.delay
			began := time.Now()
			c, stop := collect(t, cfg, r.srv.Connect())
			recs := load(t, "01-single-pcmu")
			events := uint64(len(want(t, recs)))
			play(t, fs, esltest.Playback{Recordings: recs, Clients: 1})
			eventually(t, "all events read", func() bool { return c.Stats().EventsRead == events })
			if tc.wait {
				eventually(t, "all events published", func() bool { return c.Stats().Published == events })
			}
			stop()
			got := r.stored()
			if uint64(len(got)) != events {
				t.Fatalf("got %d messages, want %d", len(got), events)
			}
			if after := got[0].Time.Sub(began); tc.wait && after < tc.delay {
				t.Errorf("the first event was published after %v, want %v at least", after, tc.delay)
			}
		})
	}
}
