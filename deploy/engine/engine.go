// Package engine is the stack of compose.yaml in a real Docker engine. There is
// nothing but tests in it: they bring the stack up as its users do, look at what it
// shows, and scale, kill and cut it off while calls run.
//
// No registry is asked. The official images that compose.yaml and deploy/Dockerfile
// name are stood in for by images of the same names, made here from the same
// programs: this machine's Go, and NATS, OpenTelemetry Collector and Prometheus
// built from their modules. "docker compose" is built from its module too (compose,
// a module of its own). Grafana cannot be built like that and is left out. The tests
// tag images with the official names only where an engine has none of that name;
// run them by "go tool task compose-test".
package engine
