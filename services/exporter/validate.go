package exporter

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Validate returns all mistakes, each naming its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("opentelemetry.%s: %w", key, fmt.Errorf(format, args...)))
	}
	if c.PacketsLost != LostGauge && c.PacketsLost != LostCumulative {
		wrong("packets_lost", "%q is not gauge or cumulative", c.PacketsLost)
	}
	if c.Legs != LegsFull && c.Legs != LegsBad && c.Legs != LegsOff {
		wrong("legs", "%q is not full, bad-legs or off", c.Legs)
	}
	if c.Units != UnitsUCUM && c.Units != UnitsNone {
		wrong("units", "%q is not ucum or none", c.Units)
	}
	if c.Compression != "" && c.Compression != "none" && c.Compression != "gzip" {
		wrong("compression", "%q is not gzip or none", c.Compression)
	}
	if (c.ClientCertificate == "") != (c.ClientKey == "") {
		wrong("client_certificate", "belongs together with client_key")
	}
	if c.Insecure != nil && *c.Insecure && (c.Certificate != "" || c.ClientCertificate != "") {
		wrong("insecure", "true and certificates exclude each other")
	}
	if !utf8.ValidString(c.ServiceNamespace) {
		wrong("service_namespace", "is not valid UTF-8")
	}
	if err := c.Headers.validate(); err != nil {
		wrong("headers", "%w", err)
	}
	for _, n := range []struct {
		key              string
		value, low, high int
	}{
		{"max_points", c.MaxPoints, 1, 100_000},
		{"max_bytes", c.MaxBytes, 1 << 10, 64 << 20},
		{"lanes", c.Lanes, 1, 64},
		{"buffer_bytes", c.BufferBytes, 8 << 20, 1 << 34},
		{"max_ack_pending", c.MaxAckPending, 1, 1 << 20},
	} {
		if n.value < n.low || n.value > n.high {
			wrong(n.key, "%d is not between %d and %d", n.value, n.low, n.high)
		}
	}
	for _, d := range []struct {
		key              string
		value, low, high time.Duration
	}{
		{"timeout", c.Timeout, 0, time.Hour},
		{"live_after", c.LiveAfter, 0, 24 * time.Hour},
		{"max_span", c.MaxSpan, time.Second, 24 * time.Hour},
		{"batch_delay", c.BatchDelay, time.Millisecond, time.Minute},
		{"ack_wait", c.AckWait, time.Second, time.Hour},
		{"max_future", c.MaxFuture, time.Second, 365 * 24 * time.Hour},
		{"park_after", c.ParkAfter, 0, 24 * time.Hour},
		{"stop_timeout", c.StopTimeout, 0, time.Hour},
	} {
		if d.value < d.low || d.value > d.high {
			wrong(d.key, "%v is not between %v and %v", d.value, d.low, d.high)
		}
	}
	return errors.Join(errs...)
}
