// Exporter sends samples of call quality to an OpenTelemetry Collector.
package main

import (
	"errors"
	"os"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/nats-io/nats.go/jetstream"
)

type settings struct {
	service.Settings `yaml:",inline"`
	OpenTelemetry    exporter.Config `yaml:"opentelemetry"`
}

func (s settings) Validate() error {
	return errors.Join(s.Settings.Validate(), s.OpenTelemetry.Validate())
}

func main() {
	s := settings{service.DefaultSettings(), exporter.DefaultConfig()}
	os.Exit(service.Program{
		Name:    "exporter",
		Purpose: "sends samples of call quality to an OpenTelemetry Collector",
		// It keeps little and allocates much: room is cheaper here than collecting.
		GCPercent: 400,
		Load:      func(path string, environ []string) error { return config.Load(&s, path, environ) },
		Settings:  func() service.Settings { return s.Settings },
		New: func(p service.Process) (service.Runner, error) {
			js, err := jetstream.New(p.NATS)
			if err != nil {
				return nil, err
			}
			return exporter.New(s.OpenTelemetry, js, p.Log, p.Metrics)
		},
	}.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
