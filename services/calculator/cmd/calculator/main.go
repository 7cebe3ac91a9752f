// Calculator turns raw FreeSWITCH events into samples of call quality.
package main

import (
	"errors"
	"os"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/services/calculator"
)

type settings struct {
	service.Settings `yaml:",inline"`
	Calculator       calculator.Config `yaml:"calculator"`
}

func (s settings) Validate() error {
	return errors.Join(s.Settings.Validate(), s.Calculator.Validate())
}

func main() {
	s := settings{service.DefaultSettings(), calculator.DefaultConfig()}
	os.Exit(service.Program{
		Name:    "calculator",
		Purpose: "turns raw FreeSWITCH events into samples of call quality",
		// It keeps little and allocates much: room is cheaper here than collecting.
		GCPercent: 400,
		Load:      func(path string, environ []string) error { return config.Load(&s, path, environ) },
		Settings:  func() service.Settings { return s.Settings },
		New: func(p service.Process) (service.Runner, error) {
			return calculator.New(s.Calculator, p.NATS, s.Storage.Partitions, p.Log, p.Metrics)
		},
	}.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
