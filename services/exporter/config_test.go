package exporter_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/services/exporter"
	"go.yaml.in/yaml/v3"
)

func TestConfigOfTheReplacedProduct(t *testing.T) {
	t.Parallel()
	cfg := exporter.DefaultConfig()
	text := "endpoint: collector:4317\ninsecure: true\nskip_zero_values: true\nheaders:\n  x-api-key: s3cret\n"
	if err := yaml.Unmarshal([]byte(text), &cfg); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if cfg.Endpoint != "collector:4317" || !*cfg.Insecure || !cfg.SkipZeroValues || cfg.Headers["x-api-key"] != "s3cret" {
		t.Errorf("got %+v", cfg)
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	t.Parallel()
	cfg := exporter.DefaultConfig()
	err := env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{
		"FSAGENT_OTEL_ENDPOINT": "collector:4317", "FSAGENT_OTEL_INSECURE": "false",
		"FSAGENT_OTEL_HEADERS": "x-api-key=a%2Cb, x-tenant = t:1", "FSAGENT_OTEL_SKIP_ZERO_VALUES": "true",
		"FSAGENT_OTEL_PACKETS_LOST": "cumulative", "FSAGENT_OTEL_TIMEOUT": "3s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if *cfg.Insecure || cfg.Headers["x-api-key"] != "a,b" || cfg.Headers["x-tenant"] != "t:1" ||
		!cfg.SkipZeroValues || cfg.PacketsLost != exporter.LostCumulative || cfg.Timeout != 3*time.Second || cfg.MaxPoints != 3000 {
		t.Errorf("got %#v", cfg)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	t.Parallel()
	cfg := exporter.DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("default: %v", err)
	}
	cfg.PacketsLost, cfg.Compression, cfg.ClientKey = "delta", "zip", "key.pem"
	cfg.Insecure, cfg.ServiceNamespace = new(true), "\xff"
	cfg.Certificate = "ca.pem"
	cfg.Headers = exporter.Headers{"grpc-x": "v", "x key": "v", "x-bad": "s3cret\n"}
	cfg.MaxPoints, cfg.MaxBytes, cfg.MaxSpan, cfg.Lanes = 0, 0, 0, 0
	cfg.BufferBytes, cfg.MaxAckPending, cfg.AckWait, cfg.BatchDelay = 0, 0, 0, 0
	cfg.MaxFuture, cfg.ParkAfter, cfg.StopTimeout, cfg.Timeout = 0, -1, -1, -1
	err := cfg.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, key := range []string{
		"packets_lost", "compression", "client_certificate", "insecure", "service_namespace", "grpc-x", "x key", "x-bad",
		"max_points", "max_bytes", "max_span", "lanes", "buffer_bytes", "max_ack_pending", "ack_wait", "batch_delay",
		"max_future", "park_after", "stop_timeout", "timeout",
	} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("no word about %s in: %v", key, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a header value is in: %v", err)
	}
}

func TestHeaderValuesAreNotPrinted(t *testing.T) {
	t.Parallel()
	cfg := exporter.DefaultConfig()
	cfg.Headers = exporter.Headers{"x-api-key": "s3cret"}
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("configuration", "headers", cfg.Headers, "config", cfg, "pointer", &cfg)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %q", cfg, cfg, cfg, cfg.Headers, cfg.Headers)
	if bad := new(exporter.Headers).UnmarshalText([]byte("s3cret")); bad == nil || strings.Contains(bad.Error(), "s3cret") {
		t.Errorf("error of a bad header: got %v", bad)
	}
	if strings.Contains(out.String(), "s3cret") || !strings.Contains(out.String(), "x-api-key") {
		t.Errorf("printed: %s", &out)
	}
}

func TestHeadersReachTheEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Headers = exporter.Headers{"X-Api-Key": "s3cret"}
	r.cfg.Compression = "gzip"
	r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	r.exactly(1)
	req := r.sink.Requests()[0]
	if got := req.Headers["x-api-key"]; len(got) != 1 || got[0] != "s3cret" {
		t.Errorf("x-api-key: got %q", got)
	}
}

func TestNewRefusesBadFiles(t *testing.T) {
	t.Parallel()
	cfg := exporter.DefaultConfig()
	cfg.Certificate = t.TempDir() + "/none.pem"
	js := natstest.Start(t).JetStream(settings())
	if _, err := exporter.New(cfg, js, natstest.Logger(t), nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want an error about the certificate", err)
	}
}

// TestReadmeNamesEveryKey holds the table of the README to the struct.
func TestReadmeNamesEveryKey(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[exporter.Config]()
	for field := range typ.Fields() {
		tag := field.Tag
		key, variable := tag.Get("yaml"), tag.Get("env")
		if key == "-" {
			continue
		}
		short := "…" + strings.TrimPrefix(variable, "FSAGENT_OTEL")
		if !bytes.Contains(readme, []byte("`"+key+"`")) || !bytes.Contains(readme, []byte("`"+variable)) && !bytes.Contains(readme, []byte("`"+short+"`")) {
			t.Errorf("README.md has not both %s and %s", key, variable)
		}
	}
}
