package explain

import (
	"github.com/fsagent/fsagent/internal/leg"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// What each name means, in one line. docs/metrics.md says more.
var (
	artefacts = map[fsagentv1.Artefact]string{
		fsagentv1.Artefact_ARTEFACT_BASELINE:           "the first report of the stream; what it lost counts for the leg, not for an interval",
		fsagentv1.Artefact_ARTEFACT_SSRC_CHANGED:       "the stream has a new SSRC; the count begins anew",
		fsagentv1.Artefact_ARTEFACT_COUNTERS_RESTARTED: "the counters fell or jumped; the count begins anew",
		fsagentv1.Artefact_ARTEFACT_PHANTOM_LOSS:       "FreeSWITCH counts 1 lost at the start of most streams; not counted",
		fsagentv1.Artefact_ARTEFACT_BEFORE_MEDIA:       "FreeSWITCH had received no RTP yet; ignored",
		fsagentv1.Artefact_ARTEFACT_NO_MEDIA:           "the highest sequence number stands still; that is not 0 % loss",
		fsagentv1.Artefact_ARTEFACT_AFTER_NO_MEDIA:     "the interval begins where the number stopped, so the loss is that of the silence",
		fsagentv1.Artefact_ARTEFACT_NEGATIVE_LOSS:      "the cumulative loss fell (late or repeated packets); the interval lost 0",
		fsagentv1.Artefact_ARTEFACT_NO_BLOCK:           "no report block about the stream that FreeSWITCH sends; ignored",
		fsagentv1.Artefact_ARTEFACT_OVERTAKEN:          "a later report came first; no interval",
		fsagentv1.Artefact_ARTEFACT_IMPOSSIBLE:         "no receiver can have counted so; ignored",
		fsagentv1.Artefact_ARTEFACT_RTT_IMPLAUSIBLE:    "a round-trip time of 0 or less, or of 10 s and more; left out",
		fsagentv1.Artefact_ARTEFACT_CYCLE_ADDED:        "the peer does not count cycles of the sequence number; 65536 added",
		fsagentv1.Artefact_ARTEFACT_STALE_SENDER:       "a receiver report; its sender fields are those of the last sender report",
		fsagentv1.Artefact_ARTEFACT_LOSS_CUT:           "more lost than expected; cut to the expectation",
		fsagentv1.Artefact_ARTEFACT_PARTIAL_MEDIA:      "media came in less than 45 % of the interval",
		fsagentv1.Artefact_ARTEFACT_FLUSHED:            "FreeSWITCH flushed its buffer after a hold or for a bridge; its loss is set aside",
		fsagentv1.Artefact_ARTEFACT_GAP:                "fsagent dropped reports of this server; the interval is over the gap",
		fsagentv1.Artefact_ARTEFACT_HELD:               "the leg was on hold in the interval or a part of it",
		fsagentv1.Artefact_ARTEFACT_CODEC_CHANGED:      "the codec changed; that alone makes a few lost packets and jitter",
	}
	reasons = map[fsagentv1.Reason]string{
		fsagentv1.Reason_REASON_NO_RTCP:             "no report in this direction",
		fsagentv1.Reason_REASON_NO_SEND_EVENTS:      "no SEND_RTCP_MESSAGE: fire_rtcp_events=true was not set before media",
		fsagentv1.Reason_REASON_UNKNOWN_CODEC:       "no published E-model constants for the codec",
		fsagentv1.Reason_REASON_TOO_SHORT:           "fewer than two reports with packets between them",
		fsagentv1.Reason_REASON_GAP:                 "fsagent dropped events of this server",
		fsagentv1.Reason_REASON_END_UNKNOWN:         "the end of the leg was not seen",
		fsagentv1.Reason_REASON_NO_MEDIA:            "no RTP session, or never answered and no packet",
		fsagentv1.Reason_REASON_LOSS_NOT_COMPUTABLE: "packets were lost and the codec has no published Bpl",
		fsagentv1.Reason_REASON_NO_PACKETS:          "nothing was expected in the interval",
		fsagentv1.Reason_REASON_BASELINE:            "the report begins a count",
		fsagentv1.Reason_REASON_IMPLAUSIBLE:         "the report contradicts the ones before it",
		fsagentv1.Reason_REASON_NO_ROUND_TRIP:       "no round-trip time is known",
		fsagentv1.Reason_REASON_PARTIAL_MEDIA:       "the few packets that came say nothing of those that did not",
		fsagentv1.Reason_REASON_RUNS_UNKNOWN:        "reports do not tell in how many runs packets were lost",
	}
	assumptions = map[fsagentv1.Assumption]string{
		fsagentv1.Assumption_ASSUMPTION_CONCEALMENT:     "the receiver conceals lost packets",
		fsagentv1.Assumption_ASSUMPTION_NO_CONCEALMENT:  "the receiver does not conceal lost packets",
		fsagentv1.Assumption_ASSUMPTION_RANDOM_LOSS:     "losses are random",
		fsagentv1.Assumption_ASSUMPTION_NO_DISCARD:      "the jitter buffer discarded nothing",
		fsagentv1.Assumption_ASSUMPTION_SYMMETRIC_DELAY: "one way is half of the round trip",
		fsagentv1.Assumption_ASSUMPTION_JITTER_BUFFER:   "jitter buffer as configured",
		fsagentv1.Assumption_ASSUMPTION_PACKET_TIME:     "packet time 20 ms",
		fsagentv1.Assumption_ASSUMPTION_PROVISIONAL:     "codec constants are not verified",
		fsagentv1.Assumption_ASSUMPTION_ECHO:            "echo losses of G.107 Table 3",
		fsagentv1.Assumption_ASSUMPTION_NO_ADVANTAGE:    "A = 0",
	}
	refusals = map[leg.Outcome]string{
		leg.Malformed:       "a header that every event has is missing or unreadable",
		leg.MalformedReport: "a field of the report is not a number",
		leg.Duplicate:       "it was applied before, or is older than all that are remembered",
		leg.Late:            "the leg is not known, and may have ended and been forgotten",
		leg.AfterEnd:        "the account of the leg is out already",
		leg.Replayed:        "it was in the state before",
		leg.NoUniqueID:      "an event of a channel without its id",
	}
)
