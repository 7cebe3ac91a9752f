package command

import (
	"context"
	"errors"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/services/fsagent"
)

func run(ctx context.Context, c call, args []string) error {
	path := c.flags.String("config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	if err := c.parse(args); err != nil {
		return err
	}
	cfg := fsagent.DefaultConfig()
	if err := config.Load(&cfg, *path, c.environ); err != nil {
		return err
	}
	log := cfg.Logging.Logger(c.stderr)
	log.Info("starting", "version", service.Version(), "servers", len(cfg.Collector.Instances), "data_dir", cfg.DataDir)
	p, err := fsagent.Open(ctx, cfg, log, service.NewRegistry())
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return nil // asked to stop while waiting for NATS
		}
		return err
	}
	defer p.Close()
	err = p.Run(ctx)
	log.Info("stopped", "cause", context.Cause(ctx))
	return err
}

// ask is for health checks without a shell.
func ask(ctx context.Context, c call, what string, args []string) int {
	c.flags.SetOutput(c.stderr)
	path := c.flags.String("config", "", "YAML `file` of the fsagent that is asked (default "+config.DefaultFile+", if it is there)")
	if err := c.parse(args); err != nil {
		return exitCode(err, c.stderr)
	}
	cfg := fsagent.DefaultConfig()
	if err := config.Load(&cfg, *path, c.environ); err != nil {
		return exitCode(err, c.stderr)
	}
	return service.Ask(ctx, cfg.HTTP, "fsagent", what, c.stdout, c.stderr)
}
