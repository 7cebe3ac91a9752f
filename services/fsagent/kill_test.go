package fsagent_test

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/nats-io/nats.go"
)

// process is one service as a process of its own that can be killed and started
// again.
type process struct {
	args    []string
	t       *testing.T
	program string
	environ []string
	cmd     *exec.Cmd
	output  *output
}

// output collects what a process says; the process may write at any time.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func startProcess(t *testing.T, program string, environ ...string) *process {
	t.Helper()
	p := &process{t: t, program: program, environ: append(os.Environ(), environ...), output: &output{}}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.program, p.output)
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.program, p.args...)
	p.cmd.Env = p.environ
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()
}

// With the services as separate processes, calculator and exporter are killed
// with SIGKILL again and again while calls are played. Every sample is in the
// stream once, the points are those of an undisturbed run, and a replay makes the
// same samples.
func TestKill(t *testing.T) {
	t.Parallel()
	const name = "05-load-80-calls"
	const prefix = "github.com/fsagent/fsagent/services/"
	srv := natstest.Start(t)
	nc := srv.Connect()
	b := newSwitchboard(t, name)
	common := []string{
		"FSAGENT_NATS_URL=" + srv.URL(), "FSAGENT_HTTP_PORT=0", "FSAGENT_CALCULATOR_LEASE=500ms",
		"FSAGENT_OTEL_ENDPOINT=" + b.receiver.Addr(), "FSAGENT_OTEL_INSECURE=true", "FSAGENT_OTEL_MAX_FUTURE=" + ever.String(),
		"FSAGENT_OTEL_ACK_WAIT=2s",
		`FSAGENT_FREESWITCH_INSTANCES=[{"name":"` + instance + `","host":"127.0.0.1","port":` + port(b) + `,"password":"ClueCon"}]`,
	}
	startProcess(t, natstest.Build(t, prefix+"collector/cmd/collector"), common...)
	calculator := startProcess(t, natstest.Build(t, prefix+"calculator/cmd/calculator"), common...)
	exporter := startProcess(t, natstest.Build(t, prefix+"exporter/cmd/exporter"), common...)

	done := make(chan struct{})
	go func() {
		defer close(done)
		play(t, b.server, name, 20) // six seconds
	}()
	for i, killed := 0, []*process{calculator, exporter}; ; i++ {
		select {
		case <-done:
		case <-time.After(700 * time.Millisecond):
			p := killed[i%len(killed)]
			p.kill()
			p.start()
			continue
		}
		break
	}

	want := strings.Split(unzip(t, "testdata/"+name+".txt.gz"), "\n")
	until(t, "all points are there", func() bool { return len(otlptest.Unique(b.receiver.Points())) >= len(want)-1 })
	// A busy machine may not have had it at work between two kills.
	for n := claims(t, nc); n < 4; n = claims(t, nc) {
		calculator.kill()
		calculator.start()
		until(t, "the calculator works again", func() bool { return claims(t, nc) > n })
	}
	golden(t, name, b.receiver.Points())
	if c := otlptest.Conflicts(b.receiver.Points()); len(c) > 0 {
		t.Errorf("%d points came twice with different values, the first is %v", len(c), c[0])
	}
	once(t, nc)
	sameAsLive(t, nc, read(t, nc, stream.DefaultPartitions))
}

// claims counts the epochs in the samples stream: how often a partition has changed
// hands, at most, and one.
func claims(t *testing.T, nc *nats.Conn) int {
	t.Helper()
	epochs := map[string]bool{}
	for _, m := range batches(t, nc) {
		epochs[m.Header.Get(stream.HeaderEpoch)] = true
	}
	return len(epochs)
}

// once fails the test if a sample is in the stream twice.
func once(t *testing.T, nc *nats.Conn) {
	t.Helper()
	seen := map[sample.Identity]bool{}
	for _, m := range batches(t, nc) {
		samples, err := sample.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if id := sample.IdentityOf(s); seen[id] {
				t.Errorf("sample %v is in the stream twice", id)
			} else {
				seen[id] = true
			}
		}
	}
}

func port(b switchboard) string { return strconv.Itoa(b.server.Addr().Port) }
