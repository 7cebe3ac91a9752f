package leg

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/rtcp"
)

// ErrState is returned by LoadLeg for bytes that are not the state of a leg.
var ErrState = errors.New("not the state of a leg")

// encode makes the LegState. The same leg gives the same bytes.
func (l *leg) encode() []byte {
	m := fsagentv1.LegState_builder{
		Applied: l.applied, CoreUuid: l.core.uuid, UniqueId: l.uniqueID, FsInstance: l.core.instance,
		Recent: l.recent.seq[:l.recent.n], ClockUs: l.clock, EndedClockUs: l.endedClock,
		SipCallId: l.sipCallID, CallId: l.callID, CallIdRank: uint32(l.callIDRank),
		DomainName: l.domain, DomainRank: uint32(l.domainRank),
		ReadCodec: l.readCodec, WriteCodec: l.writeCodec, ClockRate: l.clockRate,
		RemoteIp: l.remoteIP, LocalIp: l.localIP, CallDirection: uint32(l.callDirection), OwnSsrc: l.ownSSRC,
		CreatedTimeUs: l.created, AnsweredTimeUs: l.answered, PacketMs: uint32(l.packetMS), LastEventUs: l.lastEvent,
		HeldSinceUs: l.heldSince, HeldUs: l.held, Gap: l.gap, EndUnknown: l.endUnknown, Revived: l.revived, Bad: l.bad, Partial: l.partial,
	}
	for i := range l.streams {
		if l.streams[i] != nil {
			m.Streams = append(m.Streams, l.streams[i].encode(i))
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Build())
	if err != nil {
		panic(err) // every string was made valid when it was read
	}
	return b
}

func (s *stream) encode(slot int) *fsagentv1.StreamState {
	return fsagentv1.StreamState_builder{
		Slot: uint32(slot), Ssrc: s.SSRC, Sequence: s.Sequence, Highest: s.Highest, Lost: s.Lost,
		MovedUs: s.MovedUS, Silent: s.Silent, SenderNtp: s.Sender,
		SumExpected: s.SumExpected, SumLost: s.SumLost, SumLostBefore: s.SumBefore, SumCoveredUs: s.SumCoveredUS,
		LostTotal: s.LostTotal, JitterCount: s.jitter.count, JitterSumNs: s.jitter.sum,
		JitterMinNs: s.jitter.min, JitterMaxNs: s.jitter.max, RttUs: s.rttUS,
		Reports: s.Reports, Intervals: s.Intervals, Started: s.Started,
		LastUs: s.LastUS, StoppedUs: s.StoppedUS, PacketUs: uint32(s.PacketUS), NoMediaUs: s.SumNoMediaUS,
		SumFlushed: s.SumFlushed, Pending: uint32(s.Pending), Artefacts: s.counts(),
		SumRuns: s.SumRuns, RunsUnknown: s.RunsUnknown,
	}.Build()
}

// counts are the artefacts met: number, count, number, count, ...
func (s *stream) counts() (out []uint32) {
	for n, count := range s.Counts {
		if count > 0 {
			out = append(out, uint32(n), count)
		}
	}
	return out
}

// LoadLeg takes in a state that Changes gave, in place of an earlier one of the
// same leg. It is to be called after LoadCores and before the first Apply. It
// fails with ErrState for bytes that are no such state; the table is as before
// then.
func (t *Table) LoadLeg(data []byte) (Key, error) {
	m := &fsagentv1.LegState{}
	if err := proto.Unmarshal(data, m); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrState, err)
	}
	key := Key{CoreUUID: m.GetCoreUuid(), UniqueID: m.GetUniqueId()}
	if err := checkState(m); err != nil {
		return key, err
	}
	c := t.core([]byte(key.CoreUUID), m.GetFsInstance())
	t.Unload(key)
	l := newLeg(c, key.UniqueID)
	l.decode(m)
	c.legs[key.UniqueID] = l
	c.most = max(c.most, len(c.legs))
	if l.endedClock != 0 {
		l.due = l.endedClock + t.linger
		t.ended++
	} else {
		l.due = l.clock + t.maxAge
		t.live++
	}
	c.push(l)
	return key, nil
}

// Unload takes out a leg that LoadLeg took in, if it did.
func (t *Table) Unload(key Key) {
	c := t.cores[key.CoreUUID]
	if c == nil {
		return
	}
	if l := c.legs[key.UniqueID]; l != nil {
		t.drop(c, l)
	}
}

func checkState(m *fsagentv1.LegState) error {
	recent := m.GetRecent()
	switch {
	case !plain([]byte(m.GetCoreUuid())) || !plain([]byte(m.GetUniqueId())):
		return fmt.Errorf("%w: no key in it", ErrState)
	case len(recent) == 0 || len(recent) > remembered || !slices.IsSorted(recent):
		return fmt.Errorf("%w: %d recent event numbers, or not in order", ErrState, len(recent))
	case m.GetCallIdRank() > originator || m.GetDomainRank() > domainNamed || m.GetCallDirection() > 2:
		return fmt.Errorf("%w: rank or direction out of range", ErrState)
	}
	for _, s := range m.GetStreams() {
		if s.GetSlot() >= slots {
			return fmt.Errorf("%w: stream slot %d", ErrState, s.GetSlot())
		}
		counts := s.GetArtefacts()
		for i := 0; i < len(counts); i += 2 {
			if i+1 == len(counts) || counts[i] >= rtcp.Kinds {
				return fmt.Errorf("%w: counts of artefacts %v", ErrState, counts)
			}
		}
		if s.GetPacketUs() > 1e6 || rtcp.Artefacts(s.GetPending())&^rtcp.Announced != 0 {
			return fmt.Errorf("%w: packet time or announcements of stream %d", ErrState, s.GetSlot())
		}
	}
	return nil
}

func (l *leg) decode(m *fsagentv1.LegState) {
	l.applied, l.loaded = m.GetApplied(), m.GetApplied()
	l.recent.n = copy(l.recent.seq[:], m.GetRecent())
	l.clock, l.endedClock = m.GetClockUs(), m.GetEndedClockUs()
	if l.endUnknown = m.GetEndUnknown() && l.endedClock != 0; l.endedClock != 0 && !l.endUnknown {
		return
	}
	l.sipCallID, l.callID, l.callIDRank = m.GetSipCallId(), m.GetCallId(), uint8(m.GetCallIdRank())
	l.domain, l.domainRank = m.GetDomainName(), uint8(m.GetDomainRank())
	l.readCodec, l.writeCodec, l.clockRate = m.GetReadCodec(), m.GetWriteCodec(), m.GetClockRate()
	l.remoteIP, l.localIP = m.GetRemoteIp(), m.GetLocalIp()
	l.callDirection, l.ownSSRC = uint8(m.GetCallDirection()), m.GetOwnSsrc()
	l.created, l.answered = m.GetCreatedTimeUs(), m.GetAnsweredTimeUs()
	for _, s := range m.GetStreams() {
		l.at(int(s.GetSlot())).decode(s)
	}
	l.packetMS, l.lastEvent = int64(min(m.GetPacketMs(), 1000)), m.GetLastEventUs()
	l.heldSince, l.held, l.gap, l.revived = m.GetHeldSinceUs(), m.GetHeldUs(), m.GetGap(), m.GetRevived()
	l.bad, l.partial = m.GetBad(), m.GetPartial()
	l.name()
}

func (s *stream) decode(m *fsagentv1.StreamState) {
	s.Stream = rtcp.Stream{
		Started: m.GetStarted(), SSRC: m.GetSsrc(), Sequence: m.GetSequence(), Highest: m.GetHighest(), Lost: m.GetLost(),
		MovedUS: m.GetMovedUs(), Silent: m.GetSilent(), Sender: m.GetSenderNtp(),
		Reports: m.GetReports(), Intervals: m.GetIntervals(),
		SumExpected: m.GetSumExpected(), SumLost: m.GetSumLost(), SumBefore: m.GetSumLostBefore(),
		SumCoveredUS: m.GetSumCoveredUs(), LostTotal: m.GetLostTotal(),
		LastUS: m.GetLastUs(), StoppedUS: m.GetStoppedUs(), PacketUS: int64(m.GetPacketUs()),
		SumNoMediaUS: m.GetNoMediaUs(), SumFlushed: m.GetSumFlushed(), Pending: rtcp.Artefacts(m.GetPending()),
		SumRuns: m.GetSumRuns(), RunsUnknown: m.GetRunsUnknown(),
	}
	for i := 0; i+1 < len(m.GetArtefacts()); i += 2 {
		s.Counts[m.GetArtefacts()[i]] = m.GetArtefacts()[i+1]
	}
	s.jitter = summary{count: m.GetJitterCount(), sum: m.GetJitterSumNs(), min: m.GetJitterMinNs(), max: m.GetJitterMaxNs()}
	s.rttUS = m.GetRttUs()
}
