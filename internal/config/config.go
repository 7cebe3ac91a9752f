// Package config reads a service's settings: defaults in code, over them a YAML
// file, over that the environment. All mistakes are reported together.
//
// One file serves all services. A service reads its own sections and leaves the
// others' alone; a key that is nobody's is a mistake.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"
)

// DefaultFile is read if it is there and no other is named.
const DefaultFile = "config.yaml"

// ErrInvalid is wrapped by every error of Load: nothing was started, and
// repeating does not help.
var ErrInvalid = errors.New("configuration")

// sections are the top-level keys of all services.
var sections = []string{"freeswitch_instances", "events", "esl", "publish", "storage", "nats", "calculator", "opentelemetry", "http", "logging", "data_dir"}

// Load fills settings, which hold the defaults, from the file and the
// environment ("KEY=value" each). An empty path means DefaultFile if it exists.
// If settings have a method Validate() error, its mistakes are reported too.
func Load[T any](settings *T, path string, environ []string) error {
	var errs []error
	named := path != ""
	if !named {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		errs = append(errs, parse(settings, path, text)...)
	case named || !errors.Is(err, fs.ErrNotExist):
		errs = append(errs, err)
	}
	errs = append(errs, environment(settings, environ)...)
	return invalid(errs)
}

// Environment fills settings, which hold the defaults, from the environment
// alone.
func Environment[T any](settings *T, environ []string) error {
	return invalid(environment(settings, environ))
}

// Set changes one setting, by its key in the file ("calculator.bad.mos") and its
// value as the file would have it.
func Set[T any](settings *T, key, value string) error {
	parts := strings.Split(key, ".")
	text := strings.Join(parts, ": {") + ": " + value + strings.Repeat("}", len(parts)-1)
	return invalid(parse(settings, key, []byte(text)))
}

func environment[T any](settings *T, environ []string) []error {
	var errs []error
	if err := env.ParseWithOptions(settings, env.Options{Environment: env.ToMap(environ)}); err != nil {
		errs = flatten(err)
	}
	if v, ok := any(settings).(interface{ Validate() error }); ok {
		errs = append(errs, flatten(v.Validate())...)
	}
	return errs
}

func invalid(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(errs...))
}

func parse[T any](settings *T, path string, text []byte) []error {
	file := struct {
		Settings *T                   `yaml:",inline"`
		Others   map[string]yaml.Node `yaml:",inline"`
	}{Settings: settings}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	var errs []error
	if err := dec.Decode(&file); err != nil && len(bytes.TrimSpace(text)) > 0 {
		var mistakes *yaml.TypeError
		if !errors.As(err, &mistakes) {
			return []error{fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))}
		}
		for _, m := range mistakes.Errors {
			errs = append(errs, fmt.Errorf("%s, %s", path, unknownField.ReplaceAllString(m, "unknown key $1")))
		}
	}
	for key, node := range file.Others {
		if !slices.Contains(sections, key) {
			errs = append(errs, fmt.Errorf("%s, line %d: unknown key %s (there are %s)", path, node.Line, key, strings.Join(sections, ", ")))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)

// flatten takes joined errors apart, so that each stands on its own line.
func flatten(err error) []error {
	switch e := err.(type) { //nolint:errorlint // the outermost is meant
	case nil:
		return nil
	case env.AggregateError:
		return e.Errors
	case interface{ Unwrap() []error }:
		var out []error
		for _, one := range e.Unwrap() {
			out = append(out, flatten(one)...)
		}
		return out
	}
	return []error{err}
}
