package leg

import (
	"bytes"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// name prepares the labels of a leg that had no event before.
func (l *leg) name() {
	if l.channelID == "" {
		l.channelID = utf8Text([]byte(l.uniqueID))
	}
	if l.callID == "" {
		l.callID = l.channelID
	}
}

// Ranks of evidence for call_id and domain_name. A better one replaces a worse
// one; an equal one does not, so that the labels of a leg stay the same through
// transfers.
const (
	ownID       = 1
	otherLeg    = 2
	originator  = 3
	toHost      = 1
	fromHost    = 2
	domainNamed = 3
)

// identify takes from a channel event what it says of the leg. The first of two
// headers of the same name counts.
func (l *leg) identify(e event.Event, k kind) {
	l.name()
	var seen found
	for rest := e.Raw(); len(rest) > 0; {
		name, value, after, ok := event.Cut(rest)
		rest = after
		if ok {
			seen.take(name, value)
		}
	}
	read, write := l.readCodec, l.writeCodec
	if k == codecSet {
		l.switchCodec(&seen)
	} else {
		l.place(&seen)
		l.describeMedia(&seen)
	}
	if read != "" && read != l.readCodec {
		l.announce(rtcp.CodecChanged, audioIn)
	}
	if write != "" && write != l.writeCodec {
		l.announce(rtcp.CodecChanged, audioOut)
	}
	switch k {
	case create:
		l.partial = false
	case bridge:
		l.announce(rtcp.Flushed, audioIn)
	case hold:
		l.holds(e.ID().TimeUS)
	case unhold:
		l.unholds(e.ID().TimeUS)
	}
}

// holds begins a hold by the leg's peer.
func (l *leg) holds(us int64) {
	if l.heldSince == 0 {
		l.heldSince = us
	}
	l.announce(rtcp.Held, audioIn, audioOut)
}

// unholds ends a hold. FreeSWITCH then flushes its buffer and counts what it
// threw away as lost (switch_rtp.c, do_flush).
func (l *leg) unholds(us int64) {
	if l.heldSince != 0 {
		l.held += max(us-l.heldSince, 0)
		l.heldSince = 0
	}
	l.announce(rtcp.Held, audioIn, audioOut)
	l.announce(rtcp.Flushed, audioIn)
}

// found is the headers of a channel event that identify reads, encoded.
type found struct {
	direction, created, answered         []byte
	readCodec, writeCodec, readRate      []byte
	otherLeg, originator, originatingLeg []byte
	sipCallID, domain, fromHost, toHost  []byte
	useCodec, useRate, ssrc, packetTime  []byte
	remoteMedia, remoteAudio, localMedia []byte
}

func (f *found) take(name, value []byte) {
	if rest, ok := bytes.CutPrefix(name, []byte("variable_")); ok {
		f.takeVariable(rest, value)
		return
	}
	switch string(name) {
	case "Call-Direction":
		first(&f.direction, value)
	case "Caller-Channel-Created-Time":
		first(&f.created, value)
	case "Caller-Channel-Answered-Time":
		first(&f.answered, value)
	case "Channel-Read-Codec-Name":
		first(&f.readCodec, value)
	case "Channel-Read-Codec-Rate":
		first(&f.readRate, value)
	case "Channel-Write-Codec-Name":
		first(&f.writeCodec, value)
	case "Other-Leg-Unique-ID":
		first(&f.otherLeg, value)
	}
}

func (f *found) takeVariable(name, value []byte) {
	switch string(name) {
	case "originator":
		first(&f.originator, value)
	case "originating_leg_uuid":
		first(&f.originatingLeg, value)
	case "sip_call_id":
		first(&f.sipCallID, value)
	case "domain_name":
		first(&f.domain, value)
	case "sip_from_host":
		first(&f.fromHost, value)
	case "sip_to_host":
		first(&f.toHost, value)
	case "rtp_use_codec_name":
		first(&f.useCodec, value)
	case "rtp_use_codec_rate":
		first(&f.useRate, value)
	case "rtp_use_codec_ptime":
		first(&f.packetTime, value)
	case "rtp_use_ssrc":
		first(&f.ssrc, value)
	case "remote_media_ip":
		first(&f.remoteMedia, value)
	case "remote_audio_ip":
		first(&f.remoteAudio, value)
	case "local_media_ip":
		first(&f.localMedia, value)
	}
}

func first(dst *[]byte, value []byte) {
	if *dst == nil {
		*dst = value
	}
}

// place takes the leg's place in its call and its times.
func (l *leg) place(f *found) {
	switch string(f.direction) {
	case "inbound":
		l.callDirection = 1
	case "outbound":
		l.callDirection = 2
	}
	if l.callIDRank == 0 {
		l.callIDRank = ownID
	}
	if l.callDirection == 2 {
		better(&l.callID, &l.callIDRank, f.otherLeg, otherLeg)
	}
	better(&l.callID, &l.callIDRank, f.originatingLeg, originator)
	better(&l.callID, &l.callIDRank, f.originator, originator)
	better(&l.domain, &l.domainRank, f.toHost, toHost)
	better(&l.domain, &l.domainRank, f.fromHost, fromHost)
	better(&l.domain, &l.domainRank, f.domain, domainNamed)
	set(&l.sipCallID, f.sipCallID)
	if us, ok := event.Uint(f.created); ok && us > 0 && us < 1<<62 {
		l.created = int64(us)
	}
	if us, ok := event.Uint(f.answered); ok && us > 0 && us < 1<<62 {
		l.answered = int64(us)
	}
}

// describeMedia takes the addresses, the negotiated codec and our SSRC.
func (l *leg) describeMedia(f *found) {
	if f.remoteAudio != nil { // where RTP really comes from, behind a NAT
		set(&l.remoteIP, f.remoteAudio)
	} else {
		set(&l.remoteIP, f.remoteMedia)
	}
	set(&l.localIP, f.localMedia)
	if n, ok := event.Uint(f.ssrc); ok && n < 1<<32 {
		l.ownSSRC = uint32(n)
	}
	if n, ok := event.Uint(f.packetTime); ok && n <= 1000 {
		l.packetMS = int64(n)
	}
	if len(f.useCodec) > 0 {
		set(&l.readCodec, f.useCodec)
		l.writeCodec = l.readCodec
		if n, ok := event.Uint(f.useRate); ok && n < 1<<32 {
			l.clockRate = uint32(n)
		}
		return
	}
	if l.readCodec == "" {
		l.switchCodec(f)
	}
}

// switchCodec takes the codecs of an event without variables. L16 is what
// FreeSWITCH's applications use inside, not what is on the wire.
func (l *leg) switchCodec(f *found) {
	if len(f.readCodec) > 0 && string(f.readCodec) != "L16" {
		set(&l.readCodec, f.readCodec)
		if n, ok := event.Uint(f.readRate); ok && n < 1<<32 {
			l.clockRate = uint32(n)
		}
	}
	if len(f.writeCodec) > 0 && string(f.writeCodec) != "L16" {
		set(&l.writeCodec, f.writeCodec)
	}
}
