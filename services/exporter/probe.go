package exporter

import (
	"context"
	"fmt"
)

// Probe asks the endpoint, with an empty request over a connection as an
// exporter has it, whether it takes metrics. It returns the reason if not.
func Probe(ctx context.Context, cfg Config) error {
	c, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer c.close(context.WithoutCancel(ctx))
	if v := c.export(ctx, nil); v.action != accept {
		return fmt.Errorf("OTLP endpoint %s: %w", cfg.Target(), v.err)
	}
	return nil
}

// Target is the endpoint in use, as it was given.
func (c Config) Target() string {
	for _, e := range []string{c.Endpoint, c.StandardMetricsEndpoint, c.StandardEndpoint} {
		if e != "" {
			return e
		}
	}
	return defaultEndpoint
}
