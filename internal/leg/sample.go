package leg

import (
	"errors"
	"math/bits"
	"strconv"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/emodel"
	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// slot is the memory of one report sample. Slots are made by the chunk, because
// most events make one; a chunk lives as long as one of its samples is kept.
type slot struct {
	sample fsagentv1.Sample
	report fsagentv1.Report
	inputs fsagentv1.MosInputs
}

const slabSize = 32

func (t *Table) slot() *slot {
	if len(t.slab) == 0 {
		t.slab = make([]slot, slabSize)
	}
	s := &t.slab[0]
	t.slab = t.slab[1:]
	return s
}

// label fills in what every sample of a leg has.
func (t *Table) label(s *fsagentv1.Sample, l *leg, e event.Event) {
	id := e.ID()
	buf := make([]byte, 0, 64)
	buf = append(buf, id.CoreUUID...)
	buf = append(buf, ':')
	buf = strconv.AppendUint(buf, id.Sequence, 10)
	s.SetEventId(string(buf))
	s.SetTimeUs(id.TimeUS)
	t.name(s, l)
}

// name fills in what the samples of a leg share.
func (t *Table) name(s *fsagentv1.Sample, l *leg) {
	s.SetFsInstance(l.core.instance)
	s.SetChannelId(l.channelID)
	s.SetCallId(l.callID)
	if t.params.CorrelationByCall {
		s.SetCorrelationId(l.callID)
	} else {
		s.SetCorrelationId(l.sipCallID)
	}
	s.SetDomainName(l.domain)
	s.SetBad(l.bad)
	s.SetPartial(l.partial)
}

// addresses are the remote and the local media address, as the direction of the
// call has it.
func (l *leg) addresses() (src, dst string) {
	switch l.callDirection {
	case 1:
		return l.remoteIP, l.localIP
	case 2:
		return l.localIP, l.remoteIP
	}
	return "", ""
}

// report applies an RTCP event. It returns nil if the report says nothing that
// could be a sample.
func (t *Table) report(l *leg, r rtcp.Report, e event.Event) *fsagentv1.Sample {
	l.name()
	st := l.stream(r)
	if l.heldSince != 0 && st.Started {
		st.Pending |= rtcp.Held
	}
	if t.trace != nil {
		t.told.Before = st.Stream
	}
	iv := st.Next(r, e.ID().Sequence, e.ID().TimeUS, l.packetMS*1000)
	if t.trace != nil {
		report, interval := r, iv // copies, so that without a trace nothing is allocated
		t.told.Report, t.told.Interval, t.told.Clock, t.told.Codec = &report, &interval, l.clockOf(r), l.codecOf(r.Direction)
	}
	if !iv.Counted {
		return nil
	}
	slot := t.slot()
	s, m := &slot.sample, &slot.report
	if iv.Moving {
		if d, ok := rtcp.Jitter(r.Jitter, l.clockOf(r)); ok {
			st.jitter.add(int64(d))
			m.SetJitterMs(float64(d) / 1e6)
		}
	}
	if r.RTT > 0 {
		if !iv.Artefacts.Has(rtcp.Overtaken) {
			st.rttUS = r.RTT.Microseconds()
		}
		m.SetRoundTripTimeMs(float64(r.RTT.Microseconds()) / 1e3)
	}
	t.rate(slot, l, r, iv)
	m.SetPacketsLostTotal(st.LostTotal)
	m.SetNoMediaUs(iv.NoMediaUS)
	m.SetPacketsFlushed(iv.Flushed)
	m.SetArtefacts(artefacts(iv.Artefacts))
	l.bad = l.bad || t.params.Bad.report(m)
	t.label(s, l, e)
	s.SetDirection(direction(r.Direction))
	s.SetMedia(r.Media().String())
	s.SetReport(m)
	if t.trace != nil {
		t.told.Sample = s
	}
	return s
}

// rate fills in loss and MOS of the interval.
func (t *Table) rate(slot *slot, l *leg, r rtcp.Report, iv rtcp.Interval) {
	m := &slot.report
	switch {
	case iv.Artefacts.Has(rtcp.NoMedia):
		m.SetPacketsExpected(0)
		noMOS(m, fsagentv1.Reason_REASON_NO_PACKETS)
		return
	case iv.Artefacts.Has(rtcp.Overtaken):
		noMOS(m, fsagentv1.Reason_REASON_IMPLAUSIBLE)
		return
	case !iv.Known:
		noMOS(m, fsagentv1.Reason_REASON_BASELINE)
		return
	}
	m.SetPacketsExpected(iv.Expected)
	m.SetPacketsLost(iv.Lost)
	m.SetFractionLost(float64(iv.Lost) / float64(iv.Expected))
	m.SetIntervalUs(iv.LengthUS)
	switch {
	case r.Media() != rtcp.Audio:
		noMOS(m, fsagentv1.Reason_REASON_UNKNOWN_CODEC)
		return
	case iv.Artefacts.Has(rtcp.PartialMedia):
		noMOS(m, fsagentv1.Reason_REASON_PARTIAL_MEDIA)
		return
	}
	q, err := t.quality[r.Direction-1].Quality(l.codecOf(r.Direction), iv.Lost, iv.Expected, l.delay())
	if t.trace != nil {
		t.told.Quality, t.told.QualityErr = q, err
	}
	if err != nil {
		noMOS(m, l.reason(r.Direction, err))
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
	t.fill(&slot.inputs, q)
	m.SetMosInputs(&slot.inputs)
}

func noMOS(m *fsagentv1.Report, why fsagentv1.Reason) {
	m.SetMosReason(why)
	m.SetMosCqReason(why)
}

// delay is what is known of the way to the ear: the round trip of this leg, as
// its last report had it, counts for both directions.
func (l *leg) delay() emodel.Delay {
	d := emodel.Delay{PacketMS: l.packetMS}
	if st := l.streams[audioOut]; st != nil {
		d.RoundTripUS = st.rttUS
	}
	return d
}

// fill says what a MOS was made of.
func (t *Table) fill(m *fsagentv1.MosInputs, q emodel.Quality) {
	m.SetIe(q.Inputs.Ie)
	m.SetBpl(q.Inputs.Bpl)
	m.SetPpl(q.Inputs.Ppl)
	m.SetBurstR(q.Inputs.BurstR)
	m.SetTaMs(q.Inputs.Ta)
	m.SetAssumed(t.assumptions(q.Assumed))
	m.SetExtrapolated(q.Flags&emodel.Extrapolated != 0)
}

// assumptions lists a set. The lists are shared: there are only a few sets, and
// nobody changes a sample.
func (t *Table) assumptions(a emodel.Assumed) []fsagentv1.Assumption {
	list, ok := t.assumed[a]
	if !ok {
		for rest := uint32(a); rest != 0; rest &= rest - 1 {
			list = append(list, fsagentv1.Assumption(bits.TrailingZeros32(rest)))
		}
		t.assumed[a] = list
	}
	return list
}

func (l *leg) stream(r rtcp.Report) *stream {
	switch {
	case r.Direction == rtcp.Inbound:
		return l.at(audioIn)
	case r.Media() == rtcp.Video:
		return l.at(videoOut)
	case r.Media() == rtcp.Text:
		return l.at(textOut)
	}
	return l.at(audioOut)
}

// codecOf a direction: what FreeSWITCH receives, or sends.
func (l *leg) codecOf(d rtcp.Direction) string {
	if d == rtcp.Outbound && l.writeCodec != "" {
		return l.writeCodec
	}
	return l.readCodec
}

// clockOf the stream a report is about, in Hz; 0 if unknown.
func (l *leg) clockOf(r rtcp.Report) uint32 {
	switch {
	case r.Media() != rtcp.Audio:
		return r.Rate
	case r.Direction == rtcp.Outbound:
		return rtcp.Clock(l.codecOf(r.Direction), r.Rate)
	}
	return rtcp.Clock(l.readCodec, l.clockRate)
}

func direction(d rtcp.Direction) fsagentv1.Direction {
	if d == rtcp.Inbound {
		return fsagentv1.Direction_DIRECTION_INBOUND
	}
	return fsagentv1.Direction_DIRECTION_OUTBOUND
}

func source(s emodel.Standard) fsagentv1.MosSource {
	switch s {
	case emodel.G107:
		return fsagentv1.MosSource_MOS_SOURCE_G107
	case emodel.G1071:
		return fsagentv1.MosSource_MOS_SOURCE_G107_1
	case emodel.G1072:
		return fsagentv1.MosSource_MOS_SOURCE_G107_2
	}
	return fsagentv1.MosSource_MOS_SOURCE_UNSPECIFIED
}

// reason is why there is no MOS of a direction.
func (l *leg) reason(d rtcp.Direction, err error) fsagentv1.Reason {
	switch {
	case l.gap && l.codecOf(d) == "":
		return fsagentv1.Reason_REASON_GAP
	case errors.Is(err, emodel.ErrUnknownCodec):
		return fsagentv1.Reason_REASON_UNKNOWN_CODEC
	case errors.Is(err, emodel.ErrLossNotComputable):
		return fsagentv1.Reason_REASON_LOSS_NOT_COMPUTABLE
	}
	return fsagentv1.Reason_REASON_IMPLAUSIBLE
}

// artefacts lists those that belong into a sample.
func artefacts(a rtcp.Artefacts) []fsagentv1.Artefact {
	a &^= rtcp.StaleSender
	if a == 0 {
		return nil
	}
	var out []fsagentv1.Artefact
	for n := range a.Numbers() {
		out = append(out, fsagentv1.Artefact(n))
	}
	return out
}
