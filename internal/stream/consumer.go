package stream

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ExportSettings of the exporters' consumers. All replicas use the same; who
// comes last decides.
type ExportSettings struct {
	// AckWait after the last sign of life of a replica its messages go to another.
	AckWait time.Duration
	// MaxAckPending messages that all replicas together may hold.
	MaxAckPending int
}

// ExportAll is the consumer that all exporters share. It has every sample
// message from the first on, and each until it is acknowledged.
func ExportAll(s ExportSettings) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       ExportConsumer,
		Description:   "all exporters together",
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       s.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: s.MaxAckPending,
	}
}

// aheadInactive is how long the server keeps a consumer of ExportAhead that
// nobody reads.
const aheadInactive = 5 * time.Minute

// ExportAhead is a second consumer of all exporters. They make it when ExportAll
// is far behind, so that new samples need not wait behind old ones, and remove it
// when ExportAll has come to its first message.
func ExportAhead(s ExportSettings, first uint64) jetstream.ConsumerConfig {
	c := ExportAll(s)
	c.Durable = ExportAheadConsumer
	c.Description = "all exporters together, new samples during catch-up"
	c.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
	c.OptStartSeq = first
	c.InactiveThreshold = aheadInactive
	return c
}
