// Chaos runs a fault campaign against the services as real processes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/fsagent/fsagent/services/fsagent/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg := chaos.DefaultConfig()
	runs := flag.Int("runs", 1, "`number` of campaigns, each with the next seed")
	flag.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "`seed` of the order of faults")
	flag.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long calls and faults go on")
	flag.IntVar(&cfg.Copies, "copies", cfg.Copies, "play the 80 calls this `number` of times at once, on each instance")
	flag.IntVar(&cfg.Instances, "instances", cfg.Instances, "`number` of FreeSWITCH servers")
	flag.IntVar(&cfg.Servers, "servers", cfg.Servers, "`number` of NATS servers, 1 or 3")
	flag.IntVar(&cfg.Calculators, "calculators", cfg.Calculators, "`number` of calculators")
	flag.IntVar(&cfg.Exporters, "exporters", cfg.Exporters, "`number` of exporters")
	flag.DurationVar(&cfg.Lease, "lease", cfg.Lease, "lease of the calculators")
	flag.StringVar(&cfg.Bin, "bin", "", "`directory` with the programs; empty builds them")
	flag.Parse()
	for range *runs {
		if err := chaos.Run(ctx, cfg, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			os.Exit(1)
		}
		cfg.Seed++
	}
}
