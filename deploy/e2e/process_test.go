package e2e

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that can be killed and started again.
type process struct {
	t       *testing.T
	program string
	args    []string
	environ []string
	ready   func() bool
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

// start a program; ready, if not nil, tells when it can be used.
func start(t *testing.T, program string, args, environ []string, ready func() bool) *process {
	t.Helper()
	p := &process{t: t, program: program, args: args, environ: append(os.Environ(), environ...), ready: ready, output: &output{}}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			said := p.output.String()
			t.Logf("%s said:\n%s", p.program, said[max(0, len(said)-4000):])
		}
	})
	p.start()
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(bin, p.program), p.args...)
	p.cmd.Env = p.environ
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	if p.ready != nil {
		until(p.t, time.Minute, p.program+" is ready", p.ready)
	}
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		_ = p.cmd.Wait()
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", limit, what)
		}
	}
}

// address returns a free one on this machine, with a port that is not among those of
// outgoing connections, and marked as internal/freeport does: it is still free when
// its process comes back.
func address(t *testing.T) string {
	t.Helper()
	for range 100 {
		mark, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000))))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = mark.Close() })
		l, err := net.Listen("tcp", mark.LocalAddr().String())
		if err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

func answers(url string) func() bool {
	return func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
}

func listens(addr string) func() bool {
	return func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}
}
