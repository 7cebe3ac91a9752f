package fsagent

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/health"
	"github.com/fsagent/fsagent/internal/natsserver"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/calculator"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/exporter"
)

// Config of the whole pipeline in one process.
type Config struct {
	Collector     collector.Config  `yaml:",inline"`
	Calculator    calculator.Config `yaml:"calculator"`
	OpenTelemetry exporter.Config   `yaml:"opentelemetry"`
	Storage       stream.Settings   `yaml:"storage"`
	NATS          NATS              `yaml:"nats"`
	HTTP          health.Config     `yaml:"http"`
	Logging       config.Logging    `yaml:"logging"`
	// DataDir is where the embedded NATS server keeps events and state.
	DataDir string `yaml:"data_dir" env:"FSAGENT_DATA_DIR"`
}

// NATS is a server elsewhere, if its URL is set, or the embedded one.
type NATS struct {
	stream.Connection `yaml:",inline"`
	// Listen opens the embedded server to other processes, host:port. Empty
	// opens no port.
	Listen string `yaml:"listen" env:"FSAGENT_NATS_LISTEN"`
}

// DefaultConfig has everything but the FreeSWITCH servers.
func DefaultConfig() Config {
	return Config{
		Collector:     collector.DefaultConfig(),
		Calculator:    calculator.DefaultConfig(),
		OpenTelemetry: exporter.DefaultConfig(),
		Storage:       stream.DefaultSettings(),
		HTTP:          health.DefaultConfig(),
		Logging:       config.DefaultLogging(),
		DataDir:       "data",
	}
}

// Validate names every setting that cannot be.
func (c Config) Validate() error {
	errs := []error{
		c.Collector.Validate(), c.Calculator.Validate(), c.OpenTelemetry.Validate(),
		c.Storage.Validate(), c.NATS.Validate(), c.HTTP.Validate(), c.Logging.Validate(),
	}
	if _, err := c.embedded(); err != nil {
		errs = append(errs, err)
	}
	if c.NATS.URL != "" && c.NATS.Listen != "" {
		errs = append(errs, errors.New("nats: url (a server elsewhere) and listen (the embedded one) exclude each other"))
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir: is empty"))
	}
	return errors.Join(errs...)
}

func (c Config) embedded() (natsserver.Config, error) {
	out := natsserver.Config{DataDir: c.DataDir}
	if c.NATS.Listen == "" {
		return out, nil
	}
	host, port, err := net.SplitHostPort(c.NATS.Listen)
	if err != nil {
		return out, fmt.Errorf("nats.listen: %w", err)
	}
	if out.Port, err = strconv.Atoi(port); err != nil || out.Port < 0 || out.Port > 65535 {
		return out, fmt.Errorf("nats.listen: port %q is not between 0 and 65535", port)
	}
	if out.Listen = host; host == "" {
		out.Listen = "0.0.0.0"
	}
	return out, nil
}
