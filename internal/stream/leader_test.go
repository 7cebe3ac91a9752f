package stream_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go/jetstream"
)

func TestLeaderless(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		replicas int
		cluster  *jetstream.ClusterInfo
		want     bool
	}{
		"one server":             {1, nil, false},
		"three with a leader":    {3, &jetstream.ClusterInfo{Leader: "n1"}, false},
		"three without a leader": {3, &jetstream.ClusterInfo{}, true},
		"three, nothing is said": {3, nil, true},
	} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: tc.replicas}, Cluster: tc.cluster}
		if got := stream.Leaderless(info); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
