package stream

import "github.com/nats-io/nats.go/jetstream"

// Leaderless reports whether a server has answered that knows no leader of a stream
// with replicas: then what it says of the stream's content is what it has itself.
func Leaderless(info *jetstream.StreamInfo) bool {
	return info.Config.Replicas > 1 && (info.Cluster == nil || info.Cluster.Leader == "")
}
