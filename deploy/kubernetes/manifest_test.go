package kubernetes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/resource"
	"github.com/yannh/kubeconform/pkg/validator"
	"k8s.io/client-go/openapi/openapitest"
	"sigs.k8s.io/yaml"
)

// manifests are what kubectl is given; the others here are for kustomize and Helm.
var manifests = []string{"namespace.yaml", "config.yaml", "freeswitch.example.yaml", "collector.yaml", "calculator.yaml", "exporter.yaml"}

// Every manifest is what the API of Kubernetes accepts: no unknown field, no wrong
// type, nothing missing. The schemas are the OpenAPI documents that Kubernetes'
// client library has for its own tests; no server is asked.
func TestManifests(t *testing.T) {
	t.Parallel()
	v := newValidator(t)
	for _, name := range manifests {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		results := v.Validate(name, f)
		if len(results) == 0 {
			t.Errorf("%s has no resource", name)
		}
		for _, r := range results {
			if r.Status != validator.Valid {
				t.Errorf("%s: %v", name, r.Err)
			}
		}
	}
}

// The check finds what it is there for.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	v := newValidator(t)
	text, err := os.ReadFile("collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"unknown field", "automountServiceAccountToken", "automountServiceToken"},
		{"unknown field, deep", "readOnlyRootFilesystem", "readOnlyRoot"},
		{"wrong type", "runAsUser: 65532", "runAsUser: nobody"},
		{"missing", "selector: { matchLabels: { app.kubernetes.io/name: collector } }", "paused: false"},
		{"another kind", "kind: Deployment", "kind: Deploiment"},
	} {
		changed := strings.Replace(string(text), c.old, c.new, 1)
		if changed == string(text) {
			t.Fatalf("%s: collector.yaml has no %q", c.name, c.old)
		}
		res := resource.Resource{Path: "collector.yaml", Bytes: []byte(changed)}
		if r := v.ValidateResource(res); r.Status == validator.Valid {
			t.Errorf("%s is not found", c.name)
		}
	}
}

// kustomization.yaml names the manifests but the example.
func TestKustomization(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	if err := yaml.UnmarshalStrict(text, &k); err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(slices.Clone(manifests), func(name string) bool { return strings.Contains(name, "example") })
	if !slices.Equal(k.Resources, want) {
		t.Errorf("resources are %v, want %v", k.Resources, want)
	}
}

// newValidator is kubeconform's, strict, with schemas written from the API's own
// documents.
func newValidator(t *testing.T) validator.Validator {
	t.Helper()
	dir := t.TempDir()
	paths, err := openapitest.NewEmbeddedFileClient().Paths()
	if err != nil {
		t.Fatal(err)
	}
	for _, api := range []string{"api/v1", "apis/apps/v1"} {
		text, err := paths[api].Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		writeSchemas(t, dir, text)
	}
	v, err := validator.New([]string{filepath.Join(dir, "{{.ResourceKind}}{{.KindSuffix}}.json")}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// kind is what x-kubernetes-group-version-kind says of a schema.
type kind struct{ Group, Version, Kind string }

// writeSchemas writes a file for each kind of one API document.
func writeSchemas(t *testing.T, dir string, text []byte) {
	t.Helper()
	var doc struct {
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for name, s := range doc.Components.Schemas {
		strict(s)
		switch { // values that JSON has in two ways
		case strings.HasSuffix(name, ".IntOrString"), strings.HasSuffix(name, ".Quantity"):
			doc.Components.Schemas[name] = map[string]any{"type": []any{"string", "number"}}
		}
	}
	for name, s := range doc.Components.Schemas {
		kinds, err := json.Marshal(s["x-kubernetes-group-version-kind"])
		if err != nil {
			t.Fatal(err)
		}
		var of []kind
		if json.Unmarshal(kinds, &of) != nil || len(of) != 1 {
			continue
		}
		file := strings.ToLower(of[0].Kind) + "-" + of[0].Version + ".json"
		if of[0].Group != "" {
			file = strings.ToLower(of[0].Kind) + "-" + regexp.MustCompile(`\..*`).ReplaceAllString(of[0].Group, "") + "-" + of[0].Version + ".json"
		}
		schema, err := json.Marshal(map[string]any{"$ref": "#/components/schemas/" + name, "components": doc.Components})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), schema, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// strict forbids what a schema does not name, all the way down. A reference that
// stands in allOf, to have a default beside it, becomes the reference.
func strict(s any) {
	switch s := s.(type) {
	case map[string]any:
		if _, ok := s["properties"]; ok && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
		delete(s, "format") // int64 and the like, which JSON Schema does not know
		for _, v := range s {
			strict(v)
		}
	case []any:
		for _, v := range s {
			strict(v)
		}
	}
}
