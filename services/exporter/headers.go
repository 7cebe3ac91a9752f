package exporter

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
)

// Headers of a request, by name. The values are secrets: a Headers prints and
// logs as the names alone.
type Headers map[string]string

// UnmarshalText reads key=value,key=value, values percent-encoded where they
// need it, as OTEL_EXPORTER_OTLP_HEADERS has them. Errors name no value.
func (h *Headers) UnmarshalText(text []byte) error {
	m := Headers{}
	for i, pair := range strings.Split(string(text), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return fmt.Errorf("header %d is not name=value", i+1)
		}
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("header %s: value is not percent-encoded", name)
		}
		m[name] = decoded
	}
	*h = m
	return nil
}

// withFile returns h with the headers of a file, which win; "" is no file.
func (h Headers) withFile(path string) (Headers, error) {
	if path == "" {
		return h, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opentelemetry.headers_file: %w", err)
	}
	var all Headers
	if err := all.UnmarshalText(bytes.ReplaceAll(text, []byte("\n"), []byte(","))); err != nil {
		return nil, fmt.Errorf("opentelemetry.headers_file: %w", err)
	}
	for name, value := range h {
		if _, ok := all[name]; !ok {
			all[name] = value
		}
	}
	if err := all.validate(); err != nil {
		return nil, fmt.Errorf("opentelemetry.headers_file: %w", err)
	}
	return all, nil
}

// String returns the names.
func (h Headers) String() string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name+"=***")
	}
	return strings.Join(names, ",")
}

// GoString returns the names.
func (h Headers) GoString() string { return h.String() }

// LogValue returns the names.
func (h Headers) LogValue() slog.Value { return slog.StringValue(h.String()) }

// MarshalText returns the names.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

func (h Headers) validate() error {
	var errs []error
	for name, value := range h {
		if !validHeaderName(name) {
			errs = append(errs, fmt.Errorf("%q is not a header name", name))
		}
		for _, c := range []byte(value) {
			if c < 0x20 || c > 0x7e {
				errs = append(errs, fmt.Errorf("value of %s has a character that is not printable ASCII", name))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// validHeaderName holds for what gRPC takes from users: letters, digits and
// "_.-", not its own "grpc-" prefix.
func validHeaderName(name string) bool {
	for _, c := range []byte(strings.ToLower(name)) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return name != "" && !strings.HasPrefix(strings.ToLower(name), "grpc-")
}
