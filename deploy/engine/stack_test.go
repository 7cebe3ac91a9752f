package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/freeport"
)

// stack is that of compose.yaml.
type stack struct {
	t       *testing.T
	environ []string
	files   []string // of compose
	url     string   // of Prometheus
}

// project is the name of the stack, and the prefix of its networks and volumes.
const project = "fsagent"

// newStack is the stack on a clean engine: nothing of an earlier one is left. When
// the test ends, so does the stack. The environment goes where .env would.
func newStack(t *testing.T, environ ...string) *stack {
	t.Helper()
	port := freePort(t)
	s := &stack{t: t, url: "http://127.0.0.1:" + port, environ: append([]string{"PROMETHEUS_PORT=" + port}, environ...),
		files: []string{"compose.yaml", "deploy/engine/testdata/without-grafana.yaml"}}
	s.remove()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.said())
		}
		s.remove()
	})
	return s
}

func (s *stack) said() string {
	var b strings.Builder
	for _, what := range [][]string{{"ps", "--all"}, {"logs", "--no-color", "--tail", "40"}} {
		out, err := s.try(what...)
		fmt.Fprintf(&b, "%s\n%v\n", out, err)
	}
	return b.String()
}

func (s *stack) remove() {
	s.t.Helper()
	s.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "1")
}

// compose runs docker compose, as its users do.
func (s *stack) compose(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("docker compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *stack) try(args ...string) (string, error) {
	cmd := s.command(args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *stack) command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", append([]string{"compose", "--progress", "plain"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "COMPOSE_FILE="+strings.Join(s.files, string(filepath.ListSeparator)))
	cmd.Env = append(cmd.Env, s.environ...)
	return cmd
}

// docker runs a command of the engine.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command("docker", args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, said.Bytes())
	}
	return strings.TrimSpace(out.String())
}

// container is one replica of a service.
type container struct {
	t                 *testing.T
	id, service, name string
}

// containers of a service that exist, in the order of their numbers.
func (s *stack) containers(service string) []container {
	s.t.Helper()
	var out []container
	lines := docker(s.t, "ps", "--no-trunc", "--filter", "label=com.docker.compose.project="+project, "--filter", "label=com.docker.compose.service="+service, "--format", "{{.Names}} {{.ID}}")
	for _, line := range slices.Sorted(strings.Lines(lines)) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		out = append(out, container{s.t, id, service, name})
	}
	return out
}

// state of a container, as docker inspect has it.
type state struct {
	State struct {
		Pid     int
		Running bool
		Health  struct{ Status string }
	}
	RestartCount    int
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

func (c container) state() state {
	c.t.Helper()
	var all []state
	if err := json.Unmarshal([]byte(docker(c.t, "inspect", c.id)), &all); err != nil || len(all) != 1 {
		c.t.Fatalf("docker inspect %s: %v", c.name, err)
	}
	return all[0]
}

// kill is kill -9 from outside, so that the engine's restart policy has to act, and
// waits until it has.
func (c container) kill() {
	c.t.Helper()
	before := c.state()
	if err := syscall.Kill(before.State.Pid, syscall.SIGKILL); err != nil {
		c.t.Fatalf("kill %s: %v", c.name, err)
	}
	until(c.t, 2*time.Minute, c.name+" is started again", func() bool {
		now := c.state()
		return now.RestartCount > before.RestartCount && now.State.Running && now.State.Pid != before.State.Pid
	})
}

// cut takes a container off a network and returns what joins them again.
func (c container) cut(network string) (join func()) {
	c.t.Helper()
	docker(c.t, "network", "disconnect", project+"_"+network, c.id)
	return func() {
		c.t.Helper()
		docker(c.t, "network", "connect", "--alias", c.service, project+"_"+network, c.id)
	}
}

// addr of a container in any of its networks; empty if it is in none.
func (c container) addr() string {
	c.t.Helper()
	networks := c.state().NetworkSettings.Networks
	for _, name := range slices.Sorted(maps.Keys(networks)) {
		if ip := networks[name].IPAddress; ip != "" {
			return ip
		}
	}
	return ""
}

// ready asks a service, by its own endpoint.
func (c container) ready() bool {
	c.t.Helper()
	_, err := c.get("/ready")
	return err == nil
}

func (c container) get(path string) (string, error) {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + net.JoinHostPort(c.addr(), "8080") + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// metric of a service without labels; -1 while there is none.
func (c container) metric(name string) float64 {
	page, err := c.get("/metrics")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err == nil {
				return v
			}
		}
	}
	return -1
}

// healthy waits until the engine says that every replica of the services is.
func (s *stack) healthy(services ...string) {
	s.t.Helper()
	for _, service := range services {
		until(s.t, 2*time.Minute, service+" is healthy", func() bool {
			all := s.containers(service)
			for _, c := range all {
				if c.state().State.Health.Status != "healthy" {
					return false
				}
			}
			return len(all) > 0
		})
	}
}

// series is one of an answer of Prometheus.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

// ask Prometheus a query, at a time in the past or now.
func (s *stack) ask(query string, at time.Time) ([]series, error) {
	resp, err := http.PostForm(s.url+"/api/v1/query", url.Values{"query": {query}, "time": {at.UTC().Format(time.RFC3339Nano)}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", query, answer.Error)
	}
	return answer.Data.Result, nil
}

// stored are all values of call quality that Prometheus has; none while it does not
// answer.
func (s *stack) stored() []series {
	all, err := s.ask(`{__name__=~"freeswitch_.+"}[3h]`, time.Now().Add(10*time.Minute))
	if err != nil {
		return nil
	}
	return all
}

// sample of a series: milliseconds since 1970, and a value.
func sample(t *testing.T, v [2]any) (ms int64, value float64) {
	t.Helper()
	at, ok := v[0].(float64)
	value, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
	if !ok || err != nil {
		t.Fatalf("%v is not a sample", v)
	}
	return int64(at*1000 + 0.5), value
}

func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", limit, what)
		}
	}
}

// freePort of this machine.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}
