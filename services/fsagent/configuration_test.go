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
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/fsagent"
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
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the settings", page)
	}
	table := settingsTable(t)
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
	for _, root := range []string{"../../docs", "../../deploy", "../../README.md", "../../compose.yaml"} {
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

// notSettings are other names that begin like a variable.
var notSettings = map[string]bool{
	"FSAGENT_": true, "FSAGENT_EVENTS": true, "FSAGENT_SAMPLES": true, "FSAGENT_STATE": true, "FSAGENT_DEADLETTER": true,
	"FSAGENT_GAP": true, "FSAGENT_SYNC": true,
}
