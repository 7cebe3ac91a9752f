package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/stream"
)

type settings struct {
	Storage stream.Settings `yaml:"storage"`
	Logging config.Logging  `yaml:"logging"`
}

func (s settings) Validate() error { return errors.Join(s.Storage.Validate(), s.Logging.Validate()) }

func defaults() settings {
	return settings{stream.DefaultSettings(), config.DefaultLogging()}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		environ    []string
		check      func(settings) bool
		mistakes   []string // in this order, each on a line of its own
	}{
		{name: "nothing", check: func(s settings) bool { return s == defaults() }},
		{name: "empty file", file: "\n", check: func(s settings) bool { return s == defaults() }},
		{
			name: "file", file: "storage:\n  type: memory\n  events_max_age: 2h\nlogging: {level: debug, format: text}\n",
			check: func(s settings) bool {
				return s.Storage.Storage == stream.Memory && s.Storage.EventsMaxAge == 2*time.Hour && s.Logging.Level == "debug" && s.Storage.Partitions == 16
			},
		},
		{
			name: "environment over file", file: "storage:\n  partitions: 4\n", environ: []string{"FSAGENT_PARTITIONS=8", "FSAGENT_LOG_LEVEL=warn"},
			check: func(s settings) bool { return s.Storage.Partitions == 8 && s.Logging.Level == "warn" },
		},
		{name: "redis, of the product this replaces", environ: []string{"FSAGENT_STORAGE_TYPE=redis"}, check: func(s settings) bool { return s.Storage.Storage == stream.Redis }},
		{name: "another service's section", file: "opentelemetry:\n  anything: 1\n", check: func(s settings) bool { return s == defaults() }},
		{
			name: "several mistakes", file: "storage:\n  partition: 4\nlogging:\n  level: loud\nlogg:\n  x: 1\n", environ: []string{"FSAGENT_LOG_FORMAT=xml"},
			mistakes: []string{"line 2: unknown key partition", "line 6: unknown key logg", "logging.level: \"loud\"", "logging.format: \"xml\""},
		},
		{name: "not YAML", file: "storage: [\n", mistakes: []string{"config.yaml"}},
		{name: "out of range", environ: []string{"FSAGENT_PARTITIONS=0", "FSAGENT_NATS_REPLICAS=2"}, mistakes: []string{"storage.partitions", "storage.replicas"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got := defaults()
			err := config.Load(&got, path, c.environ)
			if len(c.mistakes) == 0 {
				if err != nil || !c.check(got) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if !errors.Is(err, config.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			rest := err.Error()
			for _, m := range c.mistakes {
				_, after, ok := strings.Cut(rest, m)
				if !ok {
					t.Errorf("%q does not say %q in its place", err, m)
				}
				rest = after
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	s := defaults()
	if err := config.Load(&s, filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}
