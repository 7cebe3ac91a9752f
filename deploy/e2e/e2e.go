// Package e2e is the pipeline between a simulated FreeSWITCH and a real
// OpenTelemetry Collector with a real Prometheus behind it. There is nothing but
// tests in it: they build both from Go modules, play recorded calls, kill what can
// be killed, and ask Prometheus what docs/backends.md says it answers.
//
// The Collector (otelcol) and Prometheus (prometheus) are modules of their own, so
// that the versions of their hundreds of dependencies stay apart from each other
// and from the product's. None of the three is in go.work: run the tests with
// GOWORK=off, or by "go tool task e2e". The product is built from the workspace.
package e2e
