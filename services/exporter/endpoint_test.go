package exporter_test

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// TestStandardVariables is not parallel: the OTLP library reads the environment
// of the process.
func TestStandardVariables(t *testing.T) {
	r := newRig(t)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + r.sink.Addr(), "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=t1",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
	} {
		t.Setenv(name, value)
	}
	r.cfg.Endpoint, r.cfg.Insecure = "", nil
	if err := env.ParseWithOptions(&r.cfg, env.Options{Environment: env.ToMap(os.Environ())}); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	r.exactly(1)
	if got := r.sink.Requests()[0].Headers["x-tenant"]; len(got) != 1 || got[0] != "t1" {
		t.Errorf("x-tenant: got %q, want t1", got)
	}
}

// TestOursBeforeStandard is not parallel for the same reason.
func TestOursBeforeStandard(t *testing.T) {
	r := newRig(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://192.0.2.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=theirs")
	r.cfg.Headers = map[string]string{"x-tenant": "ours"}
	r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	r.exactly(1)
	if got := r.sink.Requests()[0].Headers["x-tenant"]; len(got) != 1 || got[0] != "ours" {
		t.Errorf("x-tenant: got %q, want ours", got)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	https := httptest.NewTLSServer(nil) // for its certificate
	defer https.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := otlptest.Start("127.0.0.1:0", grpc.Creds(credentials.NewServerTLSFromCert(&https.TLS.Certificates[0])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	r := newRig(t)
	r.sink = sink
	r.cfg.Endpoint, r.cfg.Insecure, r.cfg.Certificate = sink.Addr(), nil, ca
	e := r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	r.exactly(1)
	e.stop()

	r.cfg.Certificate = "" // the system does not know the authority
	e = r.start()
	r.publish(0, jitter("fs-1", 1, 2))
	eventually(t, "no trust", func() bool { return e.Ready() != nil })
	if got := len(sink.Points()); got != 1 {
		t.Errorf("points: got %d, want 1", got)
	}
}
