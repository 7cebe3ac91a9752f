// Bench measures the pipeline against what the NATS server itself can do.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/fsagent/fsagent/services/fsagent/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cfg bench.Config
	only := flag.String("only", "", "measure these only, `names` separated by commas")
	flag.IntVar(&cfg.Copies, "copies", 40, "`number` of copies of the 80 recorded calls")
	flag.StringVar(&cfg.Bin, "bin", "", "`directory` with the programs; empty builds them")
	flag.StringVar(&cfg.JSON, "json", "", "`file` for the result")
	flag.StringVar(&cfg.Profiles, "profiles", "", "`directory` for CPU profiles of every process, for go tool pprof; they cost some speed")
	flag.StringVar(&cfg.Against, "against", "", "`file` of an earlier result to compare with")
	flag.Parse()
	if *only != "" {
		cfg.Only = strings.Split(*only, ",")
	}
	if err := bench.Run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
