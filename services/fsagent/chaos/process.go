package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
)

// programs are the commands of a campaign, by the names of their processes.
var programs = map[string]string{
	"collector":   "github.com/fsagent/fsagent/services/collector/cmd/collector",
	"calculator":  "github.com/fsagent/fsagent/services/calculator/cmd/calculator",
	"exporter":    "github.com/fsagent/fsagent/services/exporter/cmd/exporter",
	"nats-server": "github.com/nats-io/nats-server/v2",
}

func build(ctx context.Context, dir string) error {
	for name, pkg := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// process is a program that can be killed, paused and started again.
type process struct {
	name    string
	program string
	args    []string
	environ []string
	log     *os.File
	cmd     *exec.Cmd
	exited  chan struct{}
	up      bool // should run
	proxy   *proxy
	since   time.Time // of the last start
}

func (c *campaign) process(name, program string, args, environ []string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	p := &process{name: name, program: filepath.Join(c.cfg.Bin, program), args: args, environ: environ, log: log}
	return p, p.start()
}

func (p *process) start() error {
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = append(os.Environ(), p.environ...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	p.cmd, p.exited, p.up, p.since = cmd, exited, true, time.Now()
	return nil
}

// kill is kill -9.
func (p *process) kill() {
	p.up = false
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.exited
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// stop asks it to end, and fails if it does not in time.
func (p *process) stop() error {
	p.up = false
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%w: %s does not stop", ErrDifference, p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%w: %s ended with status %d", ErrDifference, p.name, code)
	}
	return nil
}

// alive fails if a process has ended by itself.
func (c *campaign) alive() error {
	for _, group := range c.groups {
		for _, p := range group {
			select {
			case <-p.exited:
				if p.up {
					return fmt.Errorf("%w: %s ended by itself: %v", ErrDifference, p.name, p.cmd.ProcessState)
				}
			default:
			}
		}
	}
	return nil
}

// startNATS starts one server, or a cluster of several.
func (c *campaign) startNATS() error {
	var routes []string
	for range c.cfg.Servers {
		client, err := freePort()
		if err != nil {
			return err
		}
		route, err := freePort()
		if err != nil {
			return err
		}
		c.ports = append(c.ports, client)
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(route))
	}
	for i, port := range c.ports {
		name := "nats-server-" + strconv.Itoa(i+1)
		args := []string{"--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--name", name, "--jetstream", "--store_dir", filepath.Join(c.dir, name)}
		if c.cfg.Servers > 1 {
			args = append(args, "--cluster_name", "chaos", "--cluster", routes[i], "--routes", strings.Join(routes, ","))
		}
		p, err := c.process(name, "nats-server", args, nil)
		if err != nil {
			return err
		}
		c.groups["nats"] = append(c.groups["nats"], p)
	}
	return c.natsUp()
}

// natsAddrs are the host:port of all servers.
func (c *campaign) natsAddrs() []string {
	var out []string
	for _, port := range c.ports {
		out = append(out, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return out
}

func (c *campaign) natsURL() string { return "nats://" + strings.Join(c.natsAddrs(), ",nats://") }

// natsUp waits until every server takes connections.
func (c *campaign) natsUp() error {
	for _, addr := range c.natsAddrs() {
		if err := answers(addr); err != nil {
			return err
		}
	}
	return nil
}

func answers(addr string) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%w: nats-server at %s does not come up", ErrDifference, addr)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("chaos: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (c *campaign) startService(name string, number int) error {
	// The way to a single server leads over a proxy that can be cut. In a
	// cluster clients find the other servers, so there is none.
	url := c.natsURL()
	var wire *proxy
	if c.cfg.Servers == 1 {
		var err error
		if wire, err = newProxy(c.natsAddrs()[0]); err != nil {
			return err
		}
		c.proxies = append(c.proxies, wire)
		url = "nats://" + wire.addr()
	}
	instances, err := c.instances()
	if err != nil {
		return err
	}
	p, err := c.process(name+"-"+strconv.Itoa(number+1), name, nil, []string{
		"FSAGENT_NATS_URL=" + url,
		"FSAGENT_NATS_REPLICAS=" + strconv.Itoa(c.cfg.Servers),
		"FSAGENT_HTTP_PORT=0",
		"FSAGENT_FREESWITCH_INSTANCES=" + instances,
		"FSAGENT_CALCULATOR_LEASE=" + c.cfg.Lease.String(),
		"FSAGENT_OTEL_ENDPOINT=" + c.sink.Addr(), "FSAGENT_OTEL_INSECURE=true", "FSAGENT_OTEL_ACK_WAIT=5s", "FSAGENT_OTEL_MAX_FUTURE=8760h",
	})
	if err != nil {
		return err
	}
	p.proxy = wire
	c.groups[name] = append(c.groups[name], p)
	return nil
}

func instanceName(i int) string { return "fs-" + strconv.Itoa(i+1) }

func (c *campaign) instances() (string, error) {
	type instance struct {
		Name     string `json:"name"`
		Host     string `json:"host"`
		Port     int    `json:"port"`
		Password string `json:"password"`
	}
	var list []instance
	for i, s := range c.servers {
		list = append(list, instance{instanceName(i), "127.0.0.1", s.Addr().Port, esltest.DefaultPassword})
	}
	var b strings.Builder
	if err := json.NewEncoder(&b).Encode(list); err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	return b.String(), new(collector.Instances).UnmarshalText([]byte(b.String()))
}
