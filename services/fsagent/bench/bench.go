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
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
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
	// Profiles is a directory for CPU profiles of every process, taken while live
	// and whole run; empty takes none.
	Profiles string
	// Against is the file of an earlier result to compare with; empty is none.
	Against string
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
	When     time.Time
	Go       string
	CPUs     int
	CPU      string            // model of the processor, as the kernel names it
	Versions map[string]string // of modules that make the difference
	Rows     []Row
	Bytes    float64 // mean size of a published event
}

func newResult(bin string) (Result, error) {
	r := Result{When: time.Now().UTC(), Go: runtime.Version(), CPUs: runtime.NumCPU(), CPU: processor(), Versions: map[string]string{}}
	said, err := exec.Command(filepath.Join(bin, "nats-server"), "--version").Output()
	if err != nil {
		return r, fmt.Errorf("bench: nats-server --version: %w", err)
	}
	if name, version, ok := strings.Cut(strings.TrimSpace(string(said)), ": "); ok {
		r.Versions[name] = version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/nats-io/nats.go" {
				r.Versions["nats.go"] = m.Version
			}
		}
	}
	return r, nil
}

// processor is the model name of /proc/cpuinfo, or the architecture.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// Run measures and prints one table.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	for _, name := range cfg.Only {
		if !contains(names, strings.TrimSpace(name)) {
			return fmt.Errorf("bench: there is no measurement %q; there are %s", name, strings.Join(names, ", "))
		}
	}
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
	earlier, err := load(cfg.Against)
	if err != nil {
		return err
	}
	b := &bench{cfg: cfg, dir: dir, out: out}
	if err := b.prepare(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	result, err := newResult(cfg.Bin)
	if err != nil {
		return err
	}
	result.Bytes = b.meanBytes()
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
	if err := errors.Join(result.table(out), result.save(cfg.JSON)); err != nil {
		return err
	}
	return result.compare(earlier, out)
}

func contains(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == name })
}

func (r Result) table(out io.Writer) error {
	fmt.Fprintf(out, "\n%s, %s\n%.0f bytes an event\n\n", r.When.Format(time.DateTime), r.where(), r.Bytes)
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

// where is the environment of a run: figures of two compare only if it is the same.
func (r Result) where() string {
	out := []string{fmt.Sprintf("%d CPUs (%s)", r.CPUs, r.CPU), r.Go}
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		out = append(out, name+" "+r.Versions[name])
	}
	return strings.Join(out, ", ")
}

// compare prints the rows that both runs have: the ratios, which mean something on
// any machine, and the rates, which do only on the same.
func (r Result) compare(earlier *Result, out io.Writer) error {
	if earlier == nil {
		return nil
	}
	fmt.Fprintf(out, "\nagainst %s, %s\n", earlier.When.Format(time.DateTime), earlier.where())
	if earlier.where() != r.where() {
		fmt.Fprintln(out, "The environment differs: compare the ratios, not the rates.")
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tratio then\tnow\tevents/s then\tnow\tchange")
	ratio := func(row Row) string {
		if row.Ratio == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", row.Ratio)
	}
	for _, now := range r.Rows {
		if i := slices.IndexFunc(earlier.Rows, func(then Row) bool { return then.Name == now.Name }); i >= 0 {
			then := earlier.Rows[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%.0f\t%+.0f %%\n", now.Name, ratio(then), ratio(now), then.Rate(), now.Rate(), 100*(now.Rate()/then.Rate()-1))
		}
	}
	return w.Flush()
}

// load reads what save wrote; nil is no file.
func load(file string) (*Result, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("bench: %s is not the result of a run: %w", file, err)
	}
	return &r, nil
}

func (r Result) save(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
