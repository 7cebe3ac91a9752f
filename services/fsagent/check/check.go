// Package check asks everything that fsagent depends on whether it works: each
// FreeSWITCH, NATS and the OTLP endpoint. It says in plain words what works and
// what is missing for call quality, changes nothing, and uses the settings and
// the clients of fsagent itself.
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fsagent/fsagent/services/fsagent"
)

// Status of one finding.
type Status string

const (
	// OK works.
	OK Status = "ok"
	// Missing works in part: some numbers will not be there, or not be right.
	Missing Status = "missing"
	// Failed does not work.
	Failed Status = "failed"
	// Unknown cannot be found out from here.
	Unknown Status = "unknown"
)

// Finding is what was found out about one thing.
type Finding struct {
	// Target is "FreeSWITCH <name>", "NATS" or "OTLP".
	Target string `json:"target"`
	// Subject is what was looked at.
	Subject string `json:"subject"`
	Status  Status `json:"status"`
	Text    string `json:"text"`
	// Advice is what to do about it; empty if nothing.
	Advice string `json:"advice,omitempty"`
}

// Report is the result of a check.
type Report struct {
	// OK is false if anything failed or is missing.
	OK       bool      `json:"ok"`
	Findings []Finding `json:"findings"`
}

// Options of a check.
type Options struct {
	// Wait for events of each FreeSWITCH.
	Wait time.Duration
}

// Run checks everything at the same time. It returns within Options.Wait and the
// time-outs of cfg, or when ctx ends.
func Run(ctx context.Context, cfg fsagent.Config, o Options) Report {
	targets := make([]func(*notes), 0, len(cfg.Collector.Instances)+2)
	for _, in := range cfg.Collector.Instances {
		targets = append(targets, func(n *notes) {
			n.target = "FreeSWITCH " + in.Name
			newSwitch(cfg, in, o, n).check(ctx)
		})
	}
	targets = append(targets,
		func(n *notes) { n.target = "NATS"; checkNATS(ctx, cfg, n) },
		func(n *notes) { n.target = "OTLP"; checkOTLP(ctx, cfg, n) })
	all := make([]notes, len(targets))
	var wg sync.WaitGroup
	for i, check := range targets {
		wg.Go(func() { check(&all[i]) })
	}
	wg.Wait()
	r := Report{OK: true}
	for _, n := range all {
		for _, f := range n.findings {
			r.OK = r.OK && f.Status != Failed && f.Status != Missing
			r.Findings = append(r.Findings, f)
		}
	}
	return r
}

// notes collects the findings of one target.
type notes struct {
	target   string
	findings []Finding
}

func (n *notes) add(subject string, s Status, advice, format string, args ...any) {
	n.findings = append(n.findings, Finding{n.target, subject, s, fmt.Sprintf(format, args...), advice})
}

// Write prints a report for people.
func (r Report) Write(w io.Writer) error {
	target := ""
	for _, f := range r.Findings {
		if f.Target != target {
			target = f.Target
			if _, err := fmt.Fprintf(w, "%s\n", target); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "  %-8s %-18s %s\n", f.Status, f.Subject, f.Text); err != nil {
			return err
		}
		if f.Advice != "" {
			if _, err := fmt.Fprintf(w, "  %27s → %s\n", "", f.Advice); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteJSON prints a report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
