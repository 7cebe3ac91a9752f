package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/fsagent/chaos"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How much is played while the stack is scaled and disturbed.
const (
	servers  = 2
	copies   = 6 // of 80 calls
	duration = 180 * time.Second
)

// While calls run, services are scaled up and back again, containers killed and cut
// off. Every sample is in the stream once, with the values of an undisturbed run, and
// every point is in Prometheus.
func TestScaleAndFaults(t *testing.T) {
	calls, freeswitches := switchboard(t)
	var names []string
	for i, f := range freeswitches {
		names = append(names, fmt.Sprintf(`{"name":"%s","host":"host.docker.internal","port":%d,"password":"%s"}`, calls[i].Instance, f.Addr().Port, esltest.DefaultPassword))
	}
	want, err := chaos.Expect(t.Context(), calls...)
	if err != nil {
		t.Fatal(err)
	}
	events, samples, points := want.Size()
	for i := range calls {
		calls[i].Playback.Rate = float64(events) / servers / duration.Seconds()
	}
	t.Logf("%d events in %v make %d samples and %d points", events, duration, samples, points)

	s := newStack(t, "FSAGENT_FREESWITCH_INSTANCES=["+strings.Join(names, ",")+"]")
	s.compose("up", "--detach")
	s.healthy("nats", "collector", "calculator", "exporter", "prometheus")
	playing := play(t, calls, freeswitches)

	s.scale(2, 4, 2)
	s.spread(4)
	for _, f := range freeswitches {
		if err := f.WaitForClient(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
	}
	s.disturb(freeswitches)
	s.sizes()
	s.scale(1, 1, 1)
	s.spread(1)
	s.upgrade(freeswitches)
	select {
	case <-playing:
		t.Error("the calls were over before the last fault")
	default:
	}
	<-playing

	client := s.operator()
	read := uint64(0)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		if read, err = published(t.Context(), client, read, want); err != nil {
			t.Fatal(err)
		}
		if err = want.Complete(); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("samples stream: %v", err)
	}
	t.Logf("%d messages of samples, every sample once and as in an undisturbed run", read)
	var last error
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Second) {
		if last = want.Points(s.received(), 1000); last == nil || time.Now().After(deadline) {
			break
		}
	}
	if last != nil {
		t.Errorf("Prometheus: %v", last)
	}
	t.Logf("%d points in Prometheus, each with its time and value", points)
}

// switchboard are simulated FreeSWITCH servers on this machine, where containers
// reach them, and what they will play.
func switchboard(t *testing.T) (calls []chaos.Calls, out []*esltest.Server) {
	t.Helper()
	r, err := recording.Load("05-load-80-calls")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-10 * time.Minute).Truncate(time.Second) // no backend takes points of the future
	for i := range servers {
		core := fmt.Sprintf("f5a9e570-0000-4000-8000-%012d", i+1)
		f, err := esltest.Start(esltest.Config{CoreUUID: core, Address: net.JoinHostPort(bridge(t), "0")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		out = append(out, f)
		calls = append(calls, chaos.Calls{Instance: "fs-" + strconv.Itoa(i+1), CoreUUID: core, Playback: esltest.Playback{
			Recordings: []*recording.Recording{r}, Copies: copies, Stagger: 700 * time.Millisecond, OneLife: true, Clients: 1,
			Start: start.Add(time.Duration(i) * time.Millisecond),
		}})
	}
	return calls, out
}

// bridge is the address of this machine on the engine's own network.
func bridge(t *testing.T) string {
	t.Helper()
	out := docker(t, "network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}}{{end}}")
	for word := range strings.FieldsSeq(out) {
		if ip := net.ParseIP(word); ip != nil {
			return ip.String()
		}
		if ip, _, err := net.ParseCIDR(word); err == nil { // the gateway is the first
			ip = ip.To4()
			ip[3]++
			return ip.String()
		}
	}
	t.Fatalf("the engine's bridge has no address: %q", out)
	return ""
}

func play(t *testing.T, calls []chaos.Calls, freeswitches []*esltest.Server) <-chan struct{} {
	t.Helper()
	over := make(chan struct{})
	var playing sync.WaitGroup
	for i, f := range freeswitches {
		playing.Go(func() {
			if _, err := f.Play(t.Context(), calls[i].Playback); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", calls[i].Instance, err)
			}
		})
	}
	go func() {
		playing.Wait()
		close(over)
	}()
	return over
}

// scale is docker compose up --scale, for all three services.
func (s *stack) scale(collectors, calculators, exporters int) {
	s.t.Helper()
	began := time.Now()
	s.compose("up", "--detach", "--no-recreate", "--scale", fmt.Sprintf("collector=%d", collectors), "--scale", fmt.Sprintf("calculator=%d", calculators), "--scale", fmt.Sprintf("exporter=%d", exporters))
	s.t.Logf("%d collectors, %d calculators, %d exporters after %v", collectors, calculators, exporters, time.Since(began).Round(100*time.Millisecond))
}

// spread waits until n calculators have equal parts of the partitions.
func (s *stack) spread(n int) {
	s.t.Helper()
	began := time.Now()
	until(s.t, 2*time.Minute, fmt.Sprintf("%d calculators have equal parts of the partitions", n), func() bool {
		all := s.containers("calculator")
		for _, c := range all {
			if c.metric("fsagent_partitions_owned") != float64(stream.DefaultPartitions/n) {
				return false
			}
		}
		return len(all) == n
	})
	s.t.Logf("the partitions are spread over %d calculators after %v more", n, time.Since(began).Round(100*time.Millisecond))
}

// disturb kills and cuts off, one container after the other; a collector only while
// the other one is connected.
func (s *stack) disturb(freeswitches []*esltest.Server) {
	s.t.Helper()
	connected := func() {
		s.t.Helper()
		until(s.t, 2*time.Minute, "both collectors are connected", func() bool {
			all := s.containers("collector")
			for _, c := range all {
				if !c.ready() || c.metric(`fsagent_fs_connections{fs_instance="fs-1"}`) != 1 || c.metric(`fsagent_fs_connections{fs_instance="fs-2"}`) != 1 {
					return false
				}
			}
			return len(all) == 2
		})
		for _, f := range freeswitches {
			if err := f.WaitForClient(s.t.Context(), 2); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	// Long enough that leases run out and connections are given up.
	const away = 6 * time.Second
	one := func(service string, i int) container { return s.containers(service)[i] }
	cut := func(c container, network string) {
		s.t.Helper()
		join := c.cut(network)
		time.Sleep(away)
		join()
		s.t.Logf("%s was off the network %s for %v", c.name, network, away)
	}
	kill := func(c container) {
		s.t.Helper()
		c.kill()
		s.t.Logf("%s was killed and is started again", c.name)
	}
	kill(one("calculator", 0))
	kill(one("exporter", 1))
	connected()
	kill(one("collector", 0))
	kill(one("otelcol", 0))
	cut(one("calculator", 2), "nats")
	cut(one("exporter", 0), "metrics")
	kill(one("nats", 0))
	connected()
	cut(one("collector", 1), "nats")
	connected()
	kill(one("prometheus", 0))
	cut(one("nats", 0), "nats")
	connected()
}

// upgrade replaces all services by those of another version, as docs/operations.md
// says.
func (s *stack) upgrade(freeswitches []*esltest.Server) {
	s.t.Helper()
	for _, name := range []string{"collector", "calculator", "exporter", "fsagent"} {
		docker(s.t, "tag", "fsagent/"+name+":dev", "fsagent/"+name+":next")
	}
	s.environ = append(s.environ, "VERSION=next")
	s.compose("up", "--detach", "--no-deps", "calculator", "exporter")
	s.spread(1)
	s.compose("up", "--detach", "--no-deps", "--no-recreate", "--scale", "collector=2", "collector")
	for _, f := range freeswitches {
		if err := f.WaitForClient(s.t.Context(), 2); err != nil {
			s.t.Fatal(err)
		}
	}
	s.healthy("collector")
	s.compose("up", "--detach", "--no-deps", "--scale", "collector=1", "collector")
	for _, name := range []string{"collector", "calculator", "exporter"} {
		all := s.containers(name)
		if len(all) != 1 || docker(s.t, "inspect", "--format", "{{.Config.Image}}", all[0].id) != "fsagent/"+name+":next" {
			s.t.Errorf("%s is not upgraded: %v", name, all)
		}
	}
	s.t.Log("all services are upgraded")
}

// sizes logs what docs/operations.md says about memory and disk.
func (s *stack) sizes() {
	s.t.Helper()
	for line := range strings.Lines(docker(s.t, "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")) {
		s.t.Log(strings.TrimSpace(line))
	}
	c := s.containers("calculator")[0]
	for _, name := range []string{stream.Events, stream.Samples, stream.StateStream} {
		label := `{stream="` + name + `"}`
		bytes, messages := c.metric("fsagent_stream_bytes"+label), c.metric("fsagent_stream_messages"+label)
		s.t.Logf("%s: %.0f messages, %.0f bytes, %.0f each", name, messages, bytes, bytes/messages)
	}
}

// operator connects to NATS with the key of people.
func (s *stack) operator() jetstream.JetStream {
	s.t.Helper()
	tag, err := named("nats") // it has a shell
	if err != nil {
		s.t.Fatal(err)
	}
	seed := filepath.Join(s.t.TempDir(), "nats.nk")
	text := docker(s.t, "run", "--rm", "--volume", project+"_keys-operator:/keys:ro", "--user", "65532", "--entrypoint", "/bin/busybox", tag, "cat", "/keys/nats.nk")
	if err := os.WriteFile(seed, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	key, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		s.t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+s.containers("nats")[0].addr()+":4222", key, nats.CustomInboxPrefix(stream.InboxPrefix("fsagent-check")), nats.MaxReconnects(-1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

// published hands what is in the samples stream after a sequence to want, and
// returns the last sequence.
func published(ctx context.Context, js jetstream.JetStream, read uint64, want *chaos.Expectation) (uint64, error) {
	samples, err := js.Stream(ctx, stream.Samples)
	if err != nil {
		return read, err
	}
	for last := samples.CachedInfo().State.LastSeq; read < last; {
		msg, err := samples.GetMsg(ctx, read+1)
		if err != nil {
			return read, err
		}
		read++
		if err := want.Message(msg.Data, msg.Sequence); err != nil {
			return read, err
		}
	}
	return read, nil
}

// received are the points that Prometheus has.
func (s *stack) received() []chaos.Point {
	s.t.Helper()
	var out []chaos.Point
	for _, r := range s.stored() {
		for _, v := range r.Values {
			ms, x := sample(s.t, v)
			out = append(out, chaos.Point{
				Metric:   strings.Replace(r.Metric["__name__"], "_", ".", 2),
				Instance: r.Metric["fs_instance"], Channel: r.Metric["channel_id"], Direction: r.Metric["direction"],
				Microseconds: ms * 1000, Value: x,
			})
		}
	}
	return out
}
