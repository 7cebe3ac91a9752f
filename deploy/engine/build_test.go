package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root of the repository.
const root = "../.."

// machine is what all tests share.
type machine struct {
	bin   string // programs that were built
	cache string // Go's, of what the images are built from
}

var built machine

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// buildAndRun uses the programs in the directory ENGINE_BIN, if it is set. What the
// images are built from is kept in the user's cache directory.
func buildAndRun(m *testing.M) (code int, err error) {
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("no Docker engine answers: %w\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "fsagent-engine-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	cache, err := os.UserCacheDir()
	if err != nil {
		return 1, err
	}
	built.cache = filepath.Join(cache, "fsagent-engine")
	if built.bin = os.Getenv("ENGINE_BIN"); built.bin == "" {
		built.bin = filepath.Join(dir, "bin")
		if err := buildPrograms(); err != nil {
			return 1, err
		}
	}
	// As if "docker compose" were installed.
	config := filepath.Join(dir, "docker")
	if err := os.MkdirAll(filepath.Join(config, "cli-plugins"), 0o700); err != nil {
		return 1, err
	}
	if err := os.Symlink(filepath.Join(built.bin, "docker-compose"), filepath.Join(config, "cli-plugins", "docker-compose")); err != nil {
		return 1, err
	}
	for key, value := range map[string]string{
		"DOCKER_CONFIG":   config,
		"DOCKER_BUILDKIT": "1",
		"COMPOSE_BAKE":    "false", // it would want a buildx
	} {
		if err := os.Setenv(key, value); err != nil {
			return 1, err
		}
	}
	if err := standIns(dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// buildPrograms builds what stands in for the official images, and compose. The
// flags are those of deploy/e2e, so that what one has built the other finds.
func buildPrograms() error {
	for _, b := range []struct{ name, dir, pkg, tags string }{
		{"docker-compose", "compose", "github.com/docker/compose/v2/cmd", ""},
		{"nats-server", "../e2e", "github.com/nats-io/nats-server/v2", ""},
		{"otelcol", "../e2e/otelcol", ".", ""},
		{"prometheus", "../e2e/prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "netgo,remove_all_sd,enable_dns_sd"},
	} {
		err := run(b.dir, []string{"GOWORK=off", "CGO_ENABLED=0"}, "go", "build", "-ldflags=-s -w", "-tags="+b.tags, "-o", filepath.Join(built.bin, b.name), b.pkg)
		if err != nil {
			return err
		}
	}
	return nil
}

// run a program to its end; what it says is in the error.
func run(dir string, environ []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// removeAll removes a directory in which Go may have made others that cannot be
// written.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
