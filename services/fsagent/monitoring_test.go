package fsagent_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/calculator"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
)

// The table of docs/operations.md has every metric of the services, with its labels and
// its help.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect()
	js := srv.JetStream(stream.DefaultSettings())
	cfg := newSwitchboard(t, "").config(t)
	described := regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "([^"]*)".*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	var table strings.Builder
	table.WriteString("| metric | labels | meaning |\n|---|---|---|\n")
	for _, open := range []func(*prometheus.Registry) error{
		func(reg *prometheus.Registry) error {
			_, err := collector.New(cfg.Collector, nc, cfg.Storage.Partitions, natstest.Logger(t), reg)
			return err
		},
		func(reg *prometheus.Registry) error {
			_, err := calculator.New(cfg.Calculator, nc, cfg.Storage.Partitions, natstest.Logger(t), reg)
			return err
		},
		func(reg *prometheus.Registry) error {
			_, err := exporter.New(cfg.OpenTelemetry, js, natstest.Logger(t), reg)
			return err
		},
	} {
		reg := prometheus.NewRegistry()
		if err := open(reg); err != nil {
			t.Fatal(err)
		}
		descs := make(chan *prometheus.Desc)
		go func() {
			reg.Describe(descs)
			close(descs)
		}()
		rows := map[string]bool{}
		for d := range descs {
			m := described.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("cannot read %s", d)
			}
			labels := strings.FieldsFunc(m[3]+","+m[4], func(r rune) bool { return r == ',' })
			for i, l := range labels {
				labels[i], _, _ = strings.Cut(l, "=")
			}
			rows[fmt.Sprintf("| `%s` | %s | %s |\n", m[1], strings.Join(labels, ", "), m[2])] = true
		}
		for _, row := range slices.Sorted(maps.Keys(rows)) {
			table.WriteString(row)
		}
	}
	inPage(t, "../../docs/operations.md", "<!-- metrics: written by go test ./services/fsagent -run TestMetricsPage -update -->\n", "<!-- end of metrics -->\n", table.String())
}

// What documents, alerts and the dashboard name of our own metrics is in the code.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	documents := []string{"../../README.md", "../../deploy/prometheus/alerts.yml", "../../deploy/grafana/dashboards/calls.json"}
	for _, root := range []string{"../../docs", "../../services", "../../internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go"):
				return err
			case filepath.Ext(path) == ".md":
				documents = append(documents, path)
			case filepath.Ext(path) == ".go":
				text, err := os.ReadFile(path)
				code.Write(text)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	metric := regexp.MustCompile(`\bfsagent_[a-z_]+`)
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(text), -1) {
			if !strings.Contains(code.String(), `"`+name+`"`) {
				t.Errorf("%s names %s, which no service has", path, name)
			}
		}
	}
}

// Grafana finds the dashboard where compose.yaml puts it, and the panels their data.
func TestGrafana(t *testing.T) {
	t.Parallel()
	read := func(path string, into any) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	const dir = "../../deploy/grafana/"
	var sources struct {
		Datasources []struct{ UID string }
	}
	read(dir+"provisioning/datasources/prometheus.yaml", &sources)
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	read(dir+"provisioning/dashboards/fsagent.yaml", &providers)
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(sources.Datasources) != 1 || len(providers.Providers) != 1 {
		t.Fatalf("%d data sources, %d providers, want one each", len(sources.Datasources), len(providers.Providers))
	}
	mount := "./deploy/grafana/dashboards:" + providers.Providers[0].Options.Path + ":ro"
	if !strings.Contains(string(text), mount) {
		t.Errorf("compose.yaml does not mount %s", mount)
	}
	board, err := os.ReadFile(dir + "dashboards/calls.json")
	if err != nil {
		t.Fatal(err)
	}
	var panels struct {
		Panels []struct {
			Title      string
			Datasource struct{ UID string }
		}
	}
	if err := json.Unmarshal(board, &panels); err != nil {
		t.Fatal(err)
	}
	for _, p := range panels.Panels {
		if p.Datasource.UID != sources.Datasources[0].UID {
			t.Errorf("panel %s asks %q, there is %q", p.Title, p.Datasource.UID, sources.Datasources[0].UID)
		}
	}
}
