package collector_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/freeport"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// process is a program that can be stopped, killed and started again.
type process struct {
	t    *testing.T
	args []string
	env  []string
	cmd  *exec.Cmd
	mu   sync.Mutex
	said bytes.Buffer
}

func startProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, env: append(os.Environ(), env...)}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.args[0], p.said.Bytes()[max(0, p.said.Len()-8000):])
		}
	})
	return p
}

// Write takes what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, p, p
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()
}

// memory is a line of /proc/<pid>/status, in bytes; 0 where there is no such file.
func (p *process) memory(name string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name+":" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// freePort is one that nobody listens on just now.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startNATS runs a NATS server as a process, with the streams made.
func startNATS(t *testing.T, s stream.Settings) (p *process, url string, js jetstream.JetStream) {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	p = startProcess(t, nil, natstest.Build(t, "github.com/nats-io/nats-server/v2"), "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir())
	url = "nats://127.0.0.1:" + port
	nc, err := stream.Connect(stream.Connection{URL: url}, t.Name(), natstest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if err := stream.EnsureRetry(t.Context(), js, s, natstest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	return p, url, js
}

// collectorProcess is a collector as a process, and its metrics.
type collectorProcess struct {
	*process
	port int
}

func startCollector(t *testing.T, url, instances string, more ...string) *collectorProcess {
	t.Helper()
	c := &collectorProcess{port: freePort(t)}
	c.process = startProcess(t, append([]string{
		"FSAGENT_NATS_URL=" + url, "FSAGENT_HTTP_PORT=" + strconv.Itoa(c.port), "FSAGENT_PARTITIONS=" + strconv.Itoa(partitions),
		"FSAGENT_FREESWITCH_INSTANCES=" + instances,
	}, more...), natstest.Build(t, "github.com/fsagent/fsagent/services/collector/cmd/collector"))
	return c
}

func instanceJSON(name string, port int) string {
	return fmt.Sprintf(`[{"name":%q,"host":"127.0.0.1","port":%d,"password":"ClueCon"}]`, name, port)
}

// metric sums all series of a name; 0 while the process does not answer.
func (c *collectorProcess) metric(name string) (sum float64) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", c.port))
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		series, value, ok := strings.Cut(in.Text(), " ")
		if series, _, _ := strings.Cut(series, "{"); !ok || series != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func (c *collectorProcess) ready() bool {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/ready", c.port))
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// ledger is what is in the stream of what a server sent: how often each event, in
// the order of their first copies.
type ledger struct {
	copies map[string]int // by message id
	order  []string
	made   map[string]int // FSAGENT_SYNC and the like, by name
	told   int            // by FSAGENT_GAP of the first partition
}

func read(t *testing.T, js jetstream.JetStream) ledger {
	t.Helper()
	eventually(t, "the test's own connection is back", js.Conn().IsConnected)
	l := ledger{copies: make(map[string]int), made: make(map[string]int)}
	s, err := js.Stream(t.Context(), stream.Events)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cons, err := s.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	it, err := cons.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	for read := uint64(0); read < info.State.Msgs; read++ {
		m, err := it.Next(jetstream.NextMaxWait(2 * time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		name := m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]
		if !subscribed[name] {
			l.made[name]++
			l.told += gapCount(m)
			continue
		}
		id := m.Headers().Get(nats.MsgIdHdr)
		if l.copies[id]++; l.copies[id] == 1 {
			l.order = append(l.order, id)
		}
	}
	return l
}

// doubles is how many events are in the stream more than once.
func (l ledger) doubles() (n int) {
	for _, c := range l.copies {
		if c > 1 {
			n++
		}
	}
	return n
}
