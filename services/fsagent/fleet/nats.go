package fleet

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/freeport"
)

// NATS is one server, or a cluster.
type NATS struct {
	Servers []*Process
	ports   []int
}

// StartNATS starts n servers with JetStream, file storage below dir, and waits
// until they take connections. more are further arguments of each.
func StartNATS(bin, dir string, n int, more ...string) (*NATS, error) {
	s := &NATS{}
	var routes []string
	for range n {
		client, err := freeport.Find()
		if err != nil {
			return s, err
		}
		route, err := freeport.Find()
		if err != nil {
			return s, err
		}
		s.ports = append(s.ports, client)
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(route))
	}
	for i, port := range s.ports {
		name := "nats-server-" + strconv.Itoa(i+1)
		args := []string{"--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--name", name, "--jetstream", "--store_dir", filepath.Join(dir, name)}
		if n > 1 {
			args = append(args, "--cluster_name", "fleet", "--cluster", routes[i], "--routes", strings.Join(routes, ","))
		}
		p, err := Start(bin, dir, name, "nats-server", append(args, more...), nil)
		if err != nil {
			return s, err
		}
		s.Servers = append(s.Servers, p)
	}
	return s, s.Wait()
}

// Addrs are the host:port of all servers.
func (s *NATS) Addrs() []string {
	var out []string
	for _, port := range s.ports {
		out = append(out, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return out
}

// URL names all servers.
func (s *NATS) URL() string { return "nats://" + strings.Join(s.Addrs(), ",nats://") }

const startTimeout = 20 * time.Second

// Wait returns when every server takes connections.
func (s *NATS) Wait() error {
	deadline := time.Now().Add(startTimeout)
	for _, addr := range s.Addrs() {
		for {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("nats-server does not come up within %v: %w", startTimeout, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
