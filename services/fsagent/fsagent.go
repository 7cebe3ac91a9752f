// Package fsagent is the whole pipeline in one process, over an embedded NATS
// server or one elsewhere: collector, calculator and exporter, each as it is
// when it runs on its own.
package fsagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/fsagent/fsagent/internal/health"
	"github.com/fsagent/fsagent/internal/natsserver"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/calculator"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Pipeline is the three services and what they run on.
type Pipeline struct {
	NATS       *nats.Conn
	Collector  *collector.Collector
	Calculator *calculator.Calculator
	Exporter   *exporter.Exporter

	keep   func(context.Context) error // keeps the streams
	server *natsserver.Server          // nil if NATS is elsewhere
	web    *health.Server              // nil if it has no port
}

// Open starts NATS, or connects to it and waits for it, makes the streams and
// the services. Close must follow.
func Open(ctx context.Context, cfg Config, log *slog.Logger, reg *prometheus.Registry) (p *Pipeline, err error) {
	p = &Pipeline{}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if cfg.Storage.Storage == stream.Redis {
		log.Warn("storage.type redis: state lives in the NATS bucket now, as with storage.type file; no Redis is used")
	}
	var how []nats.Option
	if cfg.NATS.URL == "" {
		embedded, err := cfg.embedded()
		if err != nil {
			return p, err
		}
		if p.server, err = natsserver.Start(embedded, log); err != nil {
			return p, err
		}
		how = append(how, p.server.InProcess())
		if url := p.server.URL(); url != "" && cfg.NATS.Listen != "" {
			log.Info("embedded NATS server listens", "url", url)
		}
	}
	if p.NATS, err = stream.Connect(cfg.NATS.Connection, "fsagent", log, how...); err != nil {
		return p, err
	}
	js, err := jetstream.New(p.NATS)
	if err != nil {
		return p, fmt.Errorf("JetStream: %w", err)
	}
	if err := stream.EnsureRetry(ctx, js, cfg.Storage, log); err != nil {
		return p, err
	}
	if p.server == nil {
		stream.TellLimits(ctx, js, cfg.Storage, log)
	} else if err := stream.ApplyLimits(ctx, js, cfg.Storage, log); err != nil {
		return p, err
	}
	p.keep = func(ctx context.Context) error { return stream.Keep(ctx, js, cfg.Storage, log) }
	if p.Collector, err = collector.New(cfg.Collector, p.NATS, cfg.Storage.Partitions, log.With("service", "collector"), reg); err != nil {
		return p, err
	}
	if p.Calculator, err = calculator.New(cfg.Calculator, p.NATS, cfg.Storage.Partitions, log.With("service", "calculator"), reg); err != nil {
		return p, err
	}
	if p.Exporter, err = exporter.New(cfg.OpenTelemetry, js, log.With("service", "exporter"), reg); err != nil {
		return p, err
	}
	p.web, err = health.Listen(cfg.HTTP, p, reg, log)
	return p, err
}

// Ready is nil when all three services can do their work.
func (p *Pipeline) Ready() error {
	return errors.Join(p.Collector.Ready(), p.Calculator.Ready(), p.Exporter.Ready())
}

// Health is the collector's, as the product this replaces had it, with the
// other services' beside it.
func (p *Pipeline) Health() any {
	return struct {
		collector.HealthReport
		Calculator any `json:"calculator"`
		Exporter   any `json:"exporter"`
	}{p.Collector.Health().(collector.HealthReport), p.Calculator.Health(), p.Exporter.Health()}
}

// Run works until ctx ends; nil means stopped as asked. The services stop in the
// order in which the data flow, so that each finishes what the one before it has
// handed on. If one cannot go on, all stop.
func (p *Pipeline) Run(ctx context.Context) error {
	if p.web == nil {
		return service.Together(ctx, p.run, p.keep)
	}
	return service.Together(ctx, p.run, p.keep, p.web.Run)
}

func (p *Pipeline) run(ctx context.Context) error {
	first, stop := context.WithCancel(ctx)
	defer stop()
	stages := []func(context.Context) error{p.Collector.Run, p.Calculator.Run, p.Exporter.Run}
	errs := make([]error, len(stages))
	var wg sync.WaitGroup
	until := first
	for i, stage := range stages {
		now := until
		next, stopNext := context.WithCancel(context.WithoutCancel(ctx))
		wg.Go(func() {
			defer stopNext()
			defer stop()
			errs[i] = stage(now)
		})
		until = next
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close ends the connection and the embedded server.
func (p *Pipeline) Close() {
	if p.NATS != nil {
		p.NATS.Close()
	}
	if p.server != nil {
		p.server.Stop()
	}
}
