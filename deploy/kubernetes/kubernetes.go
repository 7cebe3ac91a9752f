// Package kubernetes holds the manifests to run fsagent on Kubernetes, and the tests
// of them. It is a module of its own, so that the product does not depend on what
// checks them; run it with GOWORK=off, or by "go tool task kubernetes-test".
package kubernetes
