package fsagent_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent"
	"go.yaml.in/yaml/v3"
)

const (
	page  = "../../docs/configuration.md"
	begin = "<!-- settings: written by go test ./services/fsagent -run TestConfigurationPage -update -->\n"
	end   = "<!-- end of settings -->\n"
)

// The table of docs/configuration.md says what the code says: keys, variables,
// defaults, and the comments of the fields.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	inPage(t, page, begin, end, settingsTable(t))
}

// inPage compares what is between begin and end of a page with a table, or writes it
// there.
func inPage(t *testing.T, page, begin, end, table string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	if *update {
		if err := os.WriteFile(page, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != table {
		t.Errorf("%s is not what the code says; run with -update", page)
	}
}

func settingsTable(t *testing.T) string {
	comments := fieldComments(t)
	var b strings.Builder
	b.WriteString("| key in the file | environment | default | meaning |\n|---|---|---|---|\n")
	cfg := fsagent.DefaultConfig()
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			inner := path
			if option != "inline" {
				inner = strings.TrimPrefix(path+"."+key, ".")
			}
			variable, _, _ := strings.Cut(f.Tag.Get("env"), ",")
			if variable == "" && f.Type.Kind() == reflect.Struct {
				walk(inner, v.Field(i))
				continue
			}
			if key == "-" {
				inner = ""
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code(inner), code(variable), code(defaultOf(v.Field(i))),
				comments[v.Type().PkgPath()+"."+v.Type().Name()+"."+f.Name])
		}
	}
	walk("", reflect.ValueOf(cfg))
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func defaultOf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case string, bool, int, int64, float64:
		return fmt.Sprint(x)
	}
	if v.IsZero() {
		return ""
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Sprint(v.Interface())
	}
	return strings.Trim(string(b), `"`)
}

// fieldComments reads the comments of all struct fields of the workspace, by
// import path, type and field. One comment may be above several fields.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"internal/stream", "internal/health", "internal/config", "services/collector", "services/calculator", "services/exporter", "services/fsagent"} {
		files, err := filepath.Glob("../../" + dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if s, ok := spec.Type.(*ast.StructType); ok {
					above := ""
					for _, f := range s.Fields.List {
						if f.Doc != nil {
							above = strings.Join(strings.Fields(f.Doc.Text()), " ")
						} else if f.Comment != nil {
							above = strings.Join(strings.Fields(f.Comment.Text()), " ")
						}
						for _, name := range f.Names {
							out["github.com/fsagent/fsagent/"+dir+"."+spec.Name.Name+"."+name.Name] = strings.TrimPrefix(above, name.Name+" ")
						}
					}
				}
				return true
			})
		}
	}
	return out
}

// Every FSAGENT_ variable that a document or a deployment names exists.
func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	table := settingsTable(t)
	for _, root := range []string{"../../docs", "../../deploy", "../../README.md", "../../compose.yaml", "../../.env.example"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
				if strings.HasPrefix(word, "FSAGENT_") && !strings.Contains(table, "`"+word+"`") && !notSettings[word] {
					t.Errorf("%s names %s, which does not exist", path, word)
				}
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// Every setting of a service can be set in .env: compose.yaml hands it on. What is
// left out is what the stack itself decides.
func TestComposeHandsSettingsOn(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var stack struct {
		Services map[string]struct {
			Environment map[string]any `yaml:"environment"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(text, &stack); err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{
		"collector":  {"freeswitch_instances", "events", "esl", "publish", "storage", "nats", "http", "logging"},
		"calculator": {"calculator", "storage", "nats", "http", "logging"},
		"exporter":   {"opentelemetry", "storage", "nats", "http", "logging"},
	}
	decided := regexp.MustCompile(`^(FSAGENT_NATS_(URL|NKEY_FILE)|FSAGENT_HTTP_PORT)$`)
	left := regexp.MustCompile(`^(FSAGENT_NATS_(CREDS_FILE|USER|PASSWORD|PASSWORD_FILE|CA_FILE|CERT_FILE|KEY_FILE|LISTEN)|FSAGENT_HTTP_HOST|FSAGENT_CALCULATOR_ID)$`)
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)[^`]*` \\| `(FSAGENT_[A-Z_]+)` ").FindAllStringSubmatch(settingsTable(t), -1)
	for name, own := range sections {
		environ := stack.Services[name].Environment
		want := map[string]bool{}
		for _, row := range rows {
			section, variable := row[1], row[2]
			if !slices.Contains(own, section) || left.MatchString(variable) {
				continue
			}
			want[variable] = true
			value, ok := environ[variable]
			if !ok {
				t.Errorf("%s: %s is not handed on", name, variable)
			} else if given := fmt.Sprint(value); value != nil && !decided.MatchString(variable) && !strings.Contains(given, "${"+variable+":-") {
				t.Errorf("%s: %s is %q whatever .env says", name, variable, given)
			}
		}
		for variable := range environ {
			if strings.HasPrefix(variable, "FSAGENT_") && !want[variable] {
				t.Errorf("%s: %s is no setting of this service", name, variable)
			}
		}
	}
	// fsagent limits compares the streams with what they were made with.
	for _, row := range rows {
		if people := stack.Services["fsagent"].Environment; row[1] == "storage" {
			if value, ok := people[row[2]]; !ok || value != stack.Services["calculator"].Environment[row[2]] {
				t.Errorf("fsagent: %s is not that of the calculators", row[2])
			}
		}
	}
}

// What .env.example sets, compose.yaml reads.
func TestEnvExample(t *testing.T) {
	t.Parallel()
	stack, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^#?([A-Z][A-Z_]*)=`).FindAllStringSubmatch(string(example), -1)
	if len(names) < 5 {
		t.Fatalf("only %d variables", len(names))
	}
	for _, m := range names {
		if !regexp.MustCompile(`\b` + m[1] + `[:}]`).Match(stack) {
			t.Errorf("compose.yaml does not read %s", m[1])
		}
	}
}

// The file and the variables of the single-process fsagent that this one replaces
// start it unchanged.
func TestEarlierConfiguration(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, cfg fsagent.Config) {
		t.Helper()
		if in := cfg.Collector.Instances; len(in) != 1 || in[0].Name != "fs-1" || in[0].Host != "10.0.0.5" || in[0].Port != 8021 || string(in[0].Password) != "ClueCon" {
			t.Errorf("instances are %+v", in)
		}
		if otel := cfg.OpenTelemetry; otel.Endpoint != "otel:4317" || cfg.Storage.Storage != stream.Redis || cfg.HTTP.Port != 9000 || cfg.Logging.Level != "debug" || cfg.Logging.Format != "text" {
			t.Errorf("got %+v", cfg)
		}
	}
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "config.yaml")
		err := os.WriteFile(path, []byte(`
freeswitch_instances:
  - name: fs-1
    host: 10.0.0.5
    port: 8021
    password: ClueCon
storage:
  type: redis
opentelemetry:
  endpoint: otel:4317
  insecure: true
  headers: {authorization: secret}
  skip_zero_values: true
http:
  port: 9000
logging:
  level: debug
  format: text
events:
  rtcp: true
  qos: false
`), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		cfg := fsagent.DefaultConfig()
		if err := config.Load(&cfg, path, nil); err != nil {
			t.Fatal(err)
		}
		check(t, cfg)
		if cfg.OpenTelemetry.Insecure == nil || !*cfg.OpenTelemetry.Insecure || !cfg.OpenTelemetry.SkipZeroValues || cfg.Collector.Events.QoS {
			t.Errorf("got %+v", cfg)
		}
	})
	t.Run("environment", func(t *testing.T) {
		t.Parallel()
		cfg := fsagent.DefaultConfig()
		err := config.Environment(&cfg, []string{
			`FSAGENT_FREESWITCH_INSTANCES=[{"name":"fs-1","host":"10.0.0.5","port":8021,"password":"ClueCon"}]`,
			"FSAGENT_STORAGE_TYPE=redis", "FSAGENT_OTEL_ENDPOINT=otel:4317", "FSAGENT_HTTP_PORT=9000", "FSAGENT_LOG_LEVEL=debug", "FSAGENT_LOG_FORMAT=text",
		})
		if err != nil {
			t.Fatal(err)
		}
		check(t, cfg)
	})
}

// notSettings are other names that begin like a variable.
var notSettings = map[string]bool{
	"FSAGENT_": true, "FSAGENT_EVENTS": true, "FSAGENT_SAMPLES": true, "FSAGENT_STATE": true, "FSAGENT_DEADLETTER": true,
	"FSAGENT_GAP": true, "FSAGENT_SYNC": true, "FSAGENT_ARCHIVE": true,
}
