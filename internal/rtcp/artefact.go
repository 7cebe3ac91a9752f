package rtcp

import "math/bits"

// Artefacts is a set of properties of RTCP as FreeSWITCH reports it that are
// not the network. The bit of each is its number in the Artefact enumeration of
// fsagent.proto.
type Artefacts uint32

// The artefacts, each with what follows from it. docs/metrics.md has a line and
// an example for every one.
const (
	// Baseline: first report of a stream. No interval.
	Baseline Artefacts = 1 << (iota + 1)
	// SSRCChanged: the stream has a new SSRC. A new baseline.
	SSRCChanged
	// CountersRestarted: counters fell or jumped under one SSRC. A new baseline.
	CountersRestarted
	// PhantomLoss: a first report that says exactly 1 lost. Not counted.
	PhantomLoss
	// BeforeMedia: FreeSWITCH's report before it received any RTP. Ignored.
	BeforeMedia
	// NoMedia: the highest sequence number stands still. Not 0 % loss.
	NoMedia
	// AfterNoMedia: the first report after NoMedia. Its interval begins where
	// the number stopped, so a burst is credited to the outage it came from.
	AfterNoMedia
	// NegativeLoss: the cumulative loss fell. The interval's loss is 0.
	NegativeLoss
	// NoBlock: no report block about the stream FreeSWITCH sends. Ignored.
	NoBlock
	// Overtaken: a later report of the stream came first. No interval.
	Overtaken
	// Impossible: values that no receiver can have measured. Ignored.
	Impossible
	// RTTImplausible: a round-trip time outside (0, 10 s). Left out.
	RTTImplausible
	// CycleAdded: the peer does not count cycles of the sequence number.
	CycleAdded
	// StaleSender: a receiver report, its sender fields are the last SR's.
	StaleSender
	// LossCut: more lost than expected. Cut to the expectation.
	LossCut
	// PartialMedia: media came in less than half of the interval.
	PartialMedia
	// Flushed: FreeSWITCH flushed its buffer after a hold or for a bridge, and
	// counts that as lost. Set aside.
	Flushed
	// Gap: reports of the server were dropped, the interval may span them.
	Gap
	// Held: the leg was on hold in the interval or a part of it.
	Held
	// CodecChanged: the codec changed in the interval.
	CodecChanged
)

// Announced are the artefacts that no report shows: other events tell them.
const Announced = Flushed | Gap | Held | CodecChanged

var names = [...]string{
	"", "baseline", "ssrc_changed", "counters_restarted", "phantom_loss", "before_media", "no_media", "after_no_media",
	"negative_loss", "no_block", "overtaken", "impossible", "rtt_implausible", "cycle_added", "stale_sender", "loss_cut", "partial_media", "flushed", "gap", "held", "codec_changed",
}

// Has reports whether all of b are in a.
func (a Artefacts) Has(b Artefacts) bool { return a&b == b }

// String lists the names, separated by '+', in ascending order.
func (a Artefacts) String() string {
	var s string
	for n := range a.Numbers() {
		if s != "" {
			s += "+"
		}
		s += names[n]
	}
	return s
}

// Numbers walks the numbers of the artefacts in the set, ascending.
func (a Artefacts) Numbers() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for rest := uint32(a); rest != 0; rest &= rest - 1 {
			n := bits.TrailingZeros32(rest)
			if n >= len(names) || !yield(n) {
				return
			}
		}
	}
}
