package leg

import (
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/emodel"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// summarise is the account of one direction of a leg that ended at endUS.
func (t *Table) summarise(l *leg, d rtcp.Direction, c counters, endUS int64) *fsagentv1.DirectionSummary {
	m := &fsagentv1.DirectionSummary{}
	st := l.seen(int(d) - 1)
	packets, bytes := c.inPackets, c.inBytes
	if d == rtcp.Outbound {
		packets, bytes = c.outPackets, c.outBytes
	}
	if l.counted(c) {
		m.SetPackets(packets)
		m.SetBytes(bytes)
	}
	m.SetReports(st.Reports)
	m.SetArtefacts(counts(st))
	if st.Reports == 0 {
		why := l.silence(d, c)
		m.SetReason(why)
		m.SetMosReason(why)
		m.SetMosCqReason(why)
		m.SetBurstRatioReason(why)
		return m
	}
	if st.jitter.count > 0 {
		m.SetJitterMeanMs(float64(st.jitter.mean()) / 1e6)
		m.SetJitterMaxMs(float64(st.jitter.max) / 1e6)
	}
	if st.rttUS > 0 {
		m.SetRoundTripTimeMs(float64(st.rttUS) / 1e3)
	}
	lost := lostOf(&st, c)
	if st.Started {
		m.SetPacketsLost(lost + st.SumBefore)
		m.SetPacketsLostBefore(st.SumBefore)
	}
	m.SetNoMediaUs(st.SumNoMediaUS)
	m.SetPacketsFlushed(st.SumFlushed - (lost - max(st.SumLost, 0)))
	m.SetUnreportedUs(max(endUS-st.LastUS, 0))
	if d == rtcp.Outbound && m.HasPackets() && st.Intervals > 0 {
		m.SetPacketsUnreported(max(packets-st.SumExpected, 0))
	}
	t.summariseQuality(m, l, d, &st, lost)
	return m
}

// lostOf is what the intervals of a stream lost. What was set aside as flushed
// is given back as far as it is more than FreeSWITCH says it flushed.
func lostOf(st *stream, c counters) int64 {
	lost := max(st.SumLost, 0)
	if c.hasFlushed {
		lost += max(st.SumFlushed-c.flushed, 0)
	}
	return lost
}

// summariseQuality is the MOS of a direction: that of the loss of all its
// intervals together, so that it does not depend on how often a report came.
func (t *Table) summariseQuality(m *fsagentv1.DirectionSummary, l *leg, d rtcp.Direction, st *stream, lost int64) {
	if st.Intervals == 0 {
		why := fsagentv1.Reason_REASON_TOO_SHORT
		if st.Pending.Has(rtcp.Gap) {
			why = fsagentv1.Reason_REASON_GAP
		}
		m.SetMosReason(why)
		m.SetMosCqReason(why)
		m.SetBurstRatioReason(why)
		return
	}
	m.SetPacketsExpected(st.SumExpected)
	m.SetCoveredUs(st.SumCoveredUS)
	summariseRuns(m, st, lost)
	q, err := t.quality[d-1].Quality(l.codecOf(d), min(lost, st.SumExpected), st.SumExpected, l.delay())
	if err != nil {
		why := l.reason(d, err)
		m.SetMosReason(why)
		m.SetMosCqReason(why)
		return
	}
	m.SetMos(q.MOS)
	m.SetMosSource(source(q.Standard))
	m.SetConcealmentAssumed(q.Assumed&emodel.Concealment != 0)
	if q.Conversational > 0 {
		m.SetMosCq(q.Conversational)
	} else {
		m.SetMosCqReason(fsagentv1.Reason_REASON_NO_ROUND_TRIP)
	}
	inputs := &fsagentv1.MosInputs{}
	t.fill(inputs, q)
	m.SetMosInputs(inputs)
}

// summariseRuns is the burst ratio, where reports tell in how many runs the
// packets were lost. Nothing lost has none, and no reason for it.
func summariseRuns(m *fsagentv1.DirectionSummary, st *stream, lost int64) {
	if lost == 0 {
		return
	}
	ratio, ok := emodel.BurstRatio(st.SumLost, st.SumRuns, st.SumExpected)
	if !ok || st.RunsUnknown || lost != st.SumLost {
		m.SetBurstRatioReason(fsagentv1.Reason_REASON_RUNS_UNKNOWN)
		return
	}
	m.SetLossBurstRatio(ratio)
}

// counts lists the artefacts that a stream met.
func counts(st stream) (out []*fsagentv1.ArtefactCount) {
	for n, count := range st.Counts {
		if count > 0 {
			out = append(out, fsagentv1.ArtefactCount_builder{Artefact: fsagentv1.Artefact(n), Count: count}.Build())
		}
	}
	return out
}
