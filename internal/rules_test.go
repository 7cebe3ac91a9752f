// Package internal_test holds the rules of the workspace: who may import whom,
// and what a package may be called.
package internal_test

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const prefix = "github.com/fsagent/fsagent/"

// rule forbids packages to depend, directly or not, on others. Patterns are
// import paths; one that ends in "/" means everything below it.
type rule struct {
	of, not string
	why     string
}

var rules = []rule{
	{prefix + "internal/event", "github.com/nats-io/", "the calculation does not know where its input comes from"},
	{prefix + "internal/rtcp", "github.com/nats-io/", "the calculation does not know where its input comes from"},
	{prefix + "internal/emodel", "github.com/nats-io/", "the calculation does not know where its input comes from"},
	{prefix + "internal/leg", "github.com/nats-io/", "the calculation does not know where its input comes from"},
	{prefix + "internal/sample", "github.com/nats-io/", "samples are values"},
	{prefix + "internal/leg", "math/rand", "the step is a pure function of its events"},
	{prefix + "internal/leg", "crypto/rand", "the step is a pure function of its events"},
	{prefix + "internal/", prefix + "services/", "imports point one way: services, internal, proto"},
	{prefix + "internal/", "github.com/percipia/", "ESL is the collector's edge"},
	{prefix + "internal/", "go.opentelemetry.io/", "OTLP is the exporter's edge"},
	{prefix + "proto/", prefix + "internal/", "imports point one way: services, internal, proto"},
	{prefix + "services/collector", prefix + "services/calculator", "services speak by streams"},
	{prefix + "services/collector", prefix + "services/exporter", "services speak by streams"},
	{prefix + "services/calculator", prefix + "services/collector", "services speak by streams"},
	{prefix + "services/calculator", prefix + "services/exporter", "services speak by streams"},
	{prefix + "services/exporter", prefix + "services/collector", "services speak by streams"},
	{prefix + "services/exporter", prefix + "services/calculator", "services speak by streams"},
	{prefix + "services/calculator", "github.com/percipia/", "ESL is the collector's edge"},
	{prefix + "services/calculator", "go.opentelemetry.io/", "OTLP is the exporter's edge"},
	{prefix + "services/collector", "go.opentelemetry.io/", "OTLP is the exporter's edge"},
	{prefix + "services/collector", "github.com/nats-io/nats-server/", "only the all-in-one and the tests embed a server"},
	{prefix + "services/calculator", "github.com/nats-io/nats-server/", "only the all-in-one and the tests embed a server"},
	{prefix + "services/exporter", "github.com/nats-io/nats-server/", "only the all-in-one and the tests embed a server"},
}

func match(pattern, path string) bool {
	return path == strings.TrimSuffix(pattern, "/") || strings.HasPrefix(path, strings.TrimSuffix(pattern, "/")+"/")
}

func TestImports(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(golist(t, "-f", `{{.ImportPath}} {{join .Deps " "}}`, "work")) {
		words := strings.Fields(line)
		pkg, deps := words[0], words[1:]
		if !strings.HasPrefix(pkg, prefix) {
			continue
		}
		for _, r := range rules {
			if !match(r.of, pkg) || match(r.not, pkg) || strings.HasSuffix(pkg, "test") {
				continue
			}
			for _, d := range deps {
				if match(r.not, d) && !allowed(pkg, d) {
					t.Errorf("%s depends on %s: %s", pkg, d, r.why)
					break
				}
			}
		}
	}
}

// allowed lists the exceptions.
func allowed(pkg, dep string) bool {
	// natsserver is the one place of internal that runs a server.
	return match(prefix+"internal/natsserver", pkg) && match("github.com/nats-io/nats-server/", dep)
}

func TestNames(t *testing.T) {
	t.Parallel()
	forbidden := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "pkg", "misc"}
	for line := range strings.Lines(golist(t, "-f", "{{.ImportPath}} {{.Name}}", "work")) {
		words := strings.Fields(line)
		for _, name := range []string{path.Base(words[0]), words[1]} {
			if slices.Contains(forbidden, name) {
				t.Errorf("%s: a package is a noun of the domain, not %q", words[0], name)
			}
		}
	}
}

func TestMainOnlyWires(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../services/*/cmd/*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("\n")); n >= 60 {
			t.Errorf("%s has %d lines, want fewer than 60: main only wires", f, n)
		}
	}
}

func golist(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	return string(out)
}
