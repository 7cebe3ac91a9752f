package collector

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// numbers gives the events that a collector makes itself their Event-Sequence:
// its clock in microseconds, each once. FreeSWITCH's own begin at 1 with every
// process and never come near.
type numbers struct {
	maker string // of this collector, random
	last  atomic.Uint64
}

func newNumbers() *numbers { return &numbers{maker: nats.NewInbox()[len(nats.InboxPrefix):]} }

func (n *numbers) next() uint64 {
	for {
		last := n.last.Load()
		now := max(uint64(time.Now().UnixMicro()), last+1)
		if n.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

// messageID of an event made here: two collectors never make the same.
func (n *numbers) messageID(sequence uint64) string {
	return n.maker + ":" + strconv.FormatUint(sequence, 10)
}
