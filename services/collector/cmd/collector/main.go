// Collector publishes the events of FreeSWITCH servers to JetStream.
package main

import (
	"errors"
	"os"
	"runtime/debug"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/services/collector"
)

type settings struct {
	service.Settings `yaml:",inline"`
	Collector        collector.Config `yaml:",inline"`
}

func (s settings) Validate() error { return errors.Join(s.Settings.Validate(), s.Collector.Validate()) }

func main() {
	s := settings{service.DefaultSettings(), collector.DefaultConfig()}
	os.Exit(service.Program{
		Name:     "collector",
		Purpose:  "publishes the events of FreeSWITCH servers to JetStream",
		Load:     func(path string, environ []string) error { return config.Load(&s, path, environ) },
		Settings: func() service.Settings { return s.Settings },
		New: func(p service.Process) (service.Runner, error) {
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(s.Collector.MemoryLimit())
			}
			return collector.New(s.Collector, p.NATS, s.Storage.Partitions, p.Log, p.Metrics)
		},
	}.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
