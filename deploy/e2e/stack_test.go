package e2e

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// backend is a Prometheus and a Collector in front of it.
type backend struct {
	t          *testing.T
	dir        string
	url        string // of Prometheus
	otlp       string // host:port of the Collector
	page       string // of the Collector, for scraping
	prometheus *process
	collector  *process
}

// newBackend starts both with the named files of testdata.
func newBackend(t *testing.T, collector, prometheus string) *backend {
	t.Helper()
	b := &backend{t: t, dir: t.TempDir(), otlp: address(t)}
	listen, page, health := address(t), address(t), address(t)
	b.url, b.page = "http://"+listen, "http://"+page+"/metrics"
	b.prometheus = start(t, "prometheus", []string{
		"--config.file=" + testdata(t, prometheus), "--storage.tsdb.path=" + filepath.Join(b.dir, "prometheus"),
		"--web.listen-address=" + listen, "--web.enable-otlp-receiver", "--log.level=warn",
	}, nil, answers(b.url+"/-/ready"))
	b.collector = start(t, "otelcol", []string{"--config=" + testdata(t, collector)}, []string{
		"E2E_HEALTH=" + health, "E2E_DIR=" + b.dir, "E2E_OTLP=" + b.otlp, "E2E_PAGE=" + page, "E2E_PROMETHEUS=" + b.url,
	}, answers("http://"+health+"/"))
	return b
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// instance is the name of the FreeSWITCH server in all configurations.
const instance = "fs-1"

// freeswitch is a simulated server that has not begun to play; it waits for its
// client. The calls began ten minutes ago: no backend takes points of the future.
func freeswitch(t *testing.T, args ...string) (addr string, p *process) {
	t.Helper()
	addr = address(t)
	args = append([]string{"simulate", "--listen", addr, "--ago", "10m"}, args...)
	return addr, start(t, "fsagent", args, nil, listens(addr))
}

// settings of the services, as environment.
func settings(t *testing.T, switchboard, otlp string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(switchboard)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		`FSAGENT_FREESWITCH_INSTANCES=[{"name":"` + instance + `","host":"` + host + `","port":` + port + `,"password":"ClueCon"}]`,
		"FSAGENT_OTEL_ENDPOINT=" + otlp, "FSAGENT_OTEL_INSECURE=true", "FSAGENT_HTTP_PORT=0", "FSAGENT_DATA_DIR=" + t.TempDir(),
	}
}

// allInOne plays a recording through the whole pipeline in one process.
func allInOne(t *testing.T, otlp, recording string, environ ...string) *process {
	t.Helper()
	addr, _ := freeswitch(t, "--recordings", recording, "--speed", "0")
	return start(t, "fsagent", []string{"run"}, append(settings(t, addr, otlp), environ...), nil)
}
