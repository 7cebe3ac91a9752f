package leg

import (
	"errors"
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
	s.SetFsInstance(l.core.instance)
	s.SetChannelId(l.channelID)
	s.SetCallId(l.callID)
	if t.params.CorrelationByCall {
		s.SetCorrelationId(l.callID)
	} else {
		s.SetCorrelationId(l.sipCallID)
	}
	s.SetDomainName(l.domain)
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

// report applies an RTCP event. s is nil if the report says nothing that could
// be a sample; ok is false if it could not be read.
func (t *Table) report(l *leg, e event.Event) (s *fsagentv1.Sample, ok bool) {
	r, err := rtcp.Parse(e, l.ownSSRC)
	if err != nil {
		return nil, false
	}
	l.name()
	st := l.stream(r)
	iv := st.Next(r, e.ID().Sequence, e.ID().TimeUS)
	if !iv.Counted {
		return nil, true
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
	t.rate(m, l, r, iv)
	m.SetPacketsLostTotal(st.LostTotal)
	m.SetArtefacts(artefacts(iv.Artefacts))
	t.label(s, l, e)
	s.SetDirection(direction(r.Direction))
	s.SetMedia(r.Media().String())
	s.SetReport(m)
	return s, true
}

// rate fills in loss and MOS of the interval.
func (t *Table) rate(m *fsagentv1.Report, l *leg, r rtcp.Report, iv rtcp.Interval) {
	switch {
	case iv.Artefacts.Has(rtcp.NoMedia):
		m.SetPacketsExpected(0)
		m.SetMosReason(fsagentv1.Reason_REASON_NO_PACKETS)
		return
	case iv.Artefacts.Has(rtcp.Overtaken):
		m.SetMosReason(fsagentv1.Reason_REASON_IMPLAUSIBLE)
		return
	case !iv.Known:
		m.SetMosReason(fsagentv1.Reason_REASON_BASELINE)
		return
	}
	m.SetPacketsExpected(iv.Expected)
	m.SetPacketsLost(iv.Lost)
	m.SetFractionLost(float64(iv.Lost) / float64(iv.Expected))
	m.SetIntervalUs(iv.LengthUS)
	if r.Media() != rtcp.Audio {
		m.SetMosReason(fsagentv1.Reason_REASON_UNKNOWN_CODEC)
		return
	}
	q, err := t.quality[r.Direction-1].Quality(l.codecOf(r.Direction), iv.Lost, iv.Expected)
	if err != nil {
		m.SetMosReason(reason(err))
		return
	}
	m.SetMos(q.MOS)
	m.SetMosSource(source(q.Standard))
	m.SetConcealmentAssumed(q.Concealed)
}

func (l *leg) stream(r rtcp.Report) *stream {
	switch {
	case r.Direction == rtcp.Inbound:
		return &l.streams[audioIn]
	case r.Media() == rtcp.Video:
		return &l.streams[videoOut]
	case r.Media() == rtcp.Text:
		return &l.streams[textOut]
	}
	return &l.streams[audioOut]
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

func reason(err error) fsagentv1.Reason {
	switch {
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
