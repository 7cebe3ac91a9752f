// Package bench measures the pipeline against what the NATS server itself can do
// with the same bytes, in one run on one machine: the services as processes of
// their own, recorded events at their recorded sizes, file storage.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fsagent/fsagent/services/fsagent/fleet"
)

// Config of a run.
type Config struct {
	// Copies of the recording with 80 calls; each has about 3,700 events.
	Copies int
	// Only measures these, by name; empty is all.
	Only []string
	// Bin is a directory with the programs; empty builds them.
	Bin string
	// JSON is a file for the result; empty writes none.
	JSON string
}

// Row is one measurement.
type Row struct {
	Name    string
	Events  int
	Seconds float64
	// CPU seconds used, by process; "bench" is this one.
	CPU map[string]float64
	// Ratio of the rate to that of Of; 0 if there is nothing to compare with.
	Ratio float64
	Of    string
	// Note is what else was measured.
	Note string
}

// Rate is events per second.
func (r Row) Rate() float64 { return float64(r.Events) / r.Seconds }

// Result is what a run found, and where.
type Result struct {
	When  time.Time
	Go    string
	CPUs  int
	Rows  []Row
	Bytes float64 // mean size of a published event
}

// Run measures and prints one table.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	dir, err := os.MkdirTemp("", "fsagent-bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)
	if cfg.Bin == "" {
		cfg.Bin = filepath.Join(dir, "bin")
		if err := fleet.Build(ctx, cfg.Bin); err != nil {
			return err
		}
	}
	b := &bench{cfg: cfg, dir: dir, out: out}
	if err := b.prepare(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	result := Result{When: time.Now().UTC(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Bytes: b.meanBytes()}
	for _, m := range measurements {
		if len(cfg.Only) > 0 && !contains(cfg.Only, m.name) {
			continue
		}
		rows, err := m.run(b, ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", m.name, err), result.table(out))
		}
		for i := range rows {
			for _, earlier := range result.Rows {
				if earlier.Name == rows[i].Of {
					rows[i].Ratio = rows[i].Rate() / earlier.Rate()
				}
			}
			fmt.Fprintf(out, "… %s: %.0f events/s\n", rows[i].Name, rows[i].Rate())
		}
		result.Rows = append(result.Rows, rows...)
	}
	if err := result.table(out); err != nil {
		return err
	}
	return result.save(cfg.JSON)
}

func contains(list []string, name string) bool {
	for _, s := range list {
		if strings.TrimSpace(s) == name {
			return true
		}
	}
	return false
}

func (r Result) table(out io.Writer) error {
	fmt.Fprintf(out, "\n%s, %d CPUs, %s, %.0f bytes an event\n\n", r.When.Format(time.DateTime), r.CPUs, r.Go, r.Bytes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tratio\tevents/s\tCPU µs/event\tnats-server\tcollector\tcalculator\texporter\tbench\tnote")
	for _, row := range r.Rows {
		ratio := ""
		if row.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f of %s", row.Ratio, row.Of)
		}
		per := func(names ...string) string {
			sum := 0.0
			for name, s := range row.CPU {
				for _, n := range names {
					if n == "" || strings.HasPrefix(name, n) {
						sum += s
					}
				}
			}
			return fmt.Sprintf("%.1f", 1e6*sum/float64(row.Events))
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, ratio, row.Rate(), per(""),
			per("nats-server"), per("collector"), per("calculator"), per("exporter"), per("bench"), row.Note)
	}
	return w.Flush()
}

func (r Result) save(path string) error {
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
