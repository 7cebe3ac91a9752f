package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// root of the repository.
const root = "../.."

// bin is where the programs are.
var bin string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// buildAndRun uses the programs in the directory E2E_BIN, if it is set.
func buildAndRun(m *testing.M) (code int, err error) {
	if bin = os.Getenv("E2E_BIN"); bin != "" {
		return m.Run(), nil
	}
	if bin, err = os.MkdirTemp("", "fsagent-e2e-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	// Without -trimpath, so that what other builds have cached is of use.
	small := []string{"build", "-ldflags=-s -w", "-o"}
	for _, b := range []struct {
		dir, workspace string
		args           []string
	}{
		{"otelcol", "off", append(small, filepath.Join(bin, "otelcol"), ".")},
		// The tags leave out service discovery but by DNS: a dependency of it is not to be had.
		{"prometheus", "off", append(small, filepath.Join(bin, "prometheus"), "-tags=netgo,remove_all_sd,enable_dns_sd", "github.com/prometheus/prometheus/cmd/prometheus")},
		{".", "off", append(small, filepath.Join(bin, "nats-server"), "github.com/nats-io/nats-server/v2")},
		{root, "", append(small, bin+"/", "./services/collector/cmd/collector", "./services/calculator/cmd/calculator",
			"./services/exporter/cmd/exporter", "./services/fsagent/cmd/fsagent")},
	} {
		cmd := exec.Command("go", b.args...)
		cmd.Dir = b.dir
		cmd.Env = append(os.Environ(), "GOWORK="+b.workspace, "CGO_ENABLED=0") // as deploy/engine builds them
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return 1, fmt.Errorf("build in %s: %w", b.dir, err)
		}
	}
	return m.Run(), nil
}
