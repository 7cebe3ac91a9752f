package natstest

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster runs n embedded servers that replicate to each other until the test
// ends, and returns the addresses of all of them as one URL.
func Cluster(tb testing.TB, n int) string {
	tb.Helper()
	var routes []*url.URL // a server with JetStream wants to know them beforehand
	for range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(tb)))})
	}
	var urls []string
	for i, route := range routes {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("natstest-%d", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
			JetStream: true, StoreDir: tb.TempDir(), Routes: routes,
			Cluster: server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: portOf(tb, route.String())},
		})
		if err != nil {
			tb.Fatal(err)
		}
		s.Start()
		tb.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		if !s.ReadyForConnections(2 * time.Minute) {
			tb.Fatal("a server of the cluster does not come up")
		}
		urls = append(urls, s.ClientURL())
	}
	return strings.Join(urls, ",")
}
