package natstest

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Servers are a cluster of embedded servers that replicate to each other.
type Servers struct {
	tb      testing.TB
	options []*server.Options
	running []*server.Server
}

// Cluster runs n servers until the test ends.
func Cluster(tb testing.TB, n int) *Servers {
	tb.Helper()
	s := &Servers{tb: tb, running: make([]*server.Server, n)}
	var routes []*url.URL // a server with JetStream wants to know them beforehand
	for range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(tb)))})
	}
	for i, route := range routes {
		s.options = append(s.options, &server.Options{
			ServerName: serverName(i), Host: "127.0.0.1", Port: freePort(tb), NoSigs: true,
			JetStream: true, StoreDir: tb.TempDir(), Routes: routes,
			Cluster: server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: portOf(tb, route.String())},
		})
		s.start(i)
	}
	tb.Cleanup(func() {
		for i := range s.running {
			s.stop(i)
		}
	})
	for i := range s.running {
		s.await(i)
	}
	return s
}

func serverName(i int) string { return fmt.Sprintf("natstest-%d", i+1) }

func (s *Servers) start(i int) {
	s.tb.Helper()
	srv, err := server.NewServer(s.options[i].Clone())
	if err != nil {
		s.tb.Fatal(err)
	}
	srv.Start()
	s.running[i] = srv
}

func (s *Servers) stop(i int) {
	s.running[i].Shutdown()
	s.running[i].WaitForShutdown()
}

func (s *Servers) await(i int) {
	s.tb.Helper()
	if !s.running[i].ReadyForConnections(2 * time.Minute) {
		s.tb.Fatal("a server of the cluster does not come up")
	}
}

// URL is the addresses of all servers.
func (s *Servers) URL() string {
	var urls []string
	for _, srv := range s.running {
		urls = append(urls, srv.ClientURL())
	}
	return strings.Join(urls, ",")
}

// Restart stops all servers of these names, and then starts them, with the data on
// their disks; without names all of the cluster.
func (s *Servers) Restart(names ...string) {
	s.tb.Helper()
	var which []int
	for i := range s.running {
		if len(names) == 0 || slices.Contains(names, serverName(i)) {
			which = append(which, i)
		}
	}
	for _, i := range which {
		s.stop(i)
	}
	for _, i := range which {
		s.start(i)
	}
	for _, i := range which {
		s.await(i)
	}
}
