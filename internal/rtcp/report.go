// Package rtcp reads the RTCP reports in FreeSWITCH's events and does the
// arithmetic on their cumulative counters: what was expected, lost and how long
// between two reports of one stream.
//
// The names of the events read the other way round from what one would think.
// RECV_RTCP_MESSAGE is a report that FreeSWITCH received: how the peer receives
// what FreeSWITCH sends (outbound). SEND_RTCP_MESSAGE is a report that
// FreeSWITCH sent: how it receives the peer (inbound).
//
// Everything here is a function of values; package leg keeps the state.
package rtcp

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/fsagent/fsagent/internal/event"
)

// ErrMalformed is returned by Parse for an RTCP event with an unreadable field.
var ErrMalformed = errors.New("malformed RTCP event")

// Direction of the media that a report is about, as FreeSWITCH sees it.
type Direction uint8

// The directions.
const (
	Inbound  Direction = iota + 1 // received from the peer: SEND_RTCP_MESSAGE
	Outbound                      // sent to the peer: RECV_RTCP_MESSAGE
)

// Report is one reception report.
type Report struct {
	Direction Direction
	// HasBlock: the report says something about the stream in question; if not,
	// the fields of the block are zero.
	HasBlock bool
	// SSRC of the RTP stream that the block is about; 0 in a report of
	// FreeSWITCH before it received any RTP.
	SSRC uint32
	// Fraction lost since the previous report of the receiver, of 256; 255 is
	// all. Not used for numbers: FreeSWITCH resets it with receiver reports that
	// make no event.
	Fraction uint8
	// Lost is the cumulative number of packets lost (RFC 3550, 6.4.1).
	Lost int32
	// Highest is the extended highest sequence number received.
	Highest uint32
	// Jitter in units of the RTP clock.
	Jitter uint32
	// LSR is the middle 32 bits of the NTP time of the last sender report that
	// the receiver saw; 0 if none. DLSR is the delay since, in 1/65536 s.
	LSR, DLSR uint32
	// RTT as FreeSWITCH smoothed it, over 0; 0 if it is unknown.
	RTT time.Duration
	// Rate is RTP-Rate: the clock of audio (but for Opus under 48 kHz), 90000
	// for video, 0 for text. Only in outbound reports.
	Rate uint32
	// SenderNTP is the NTP time of the sender report, 32.32 bits.
	SenderNTP uint64
	// Artefacts seen in the report alone: NoBlock, RTTImplausible.
	Artefacts Artefacts
}

const (
	maxBlocks = 5 // switch_rtcp_frame.h, MAX_REPORT_BLOCKS
	maxRTT    = 10 * time.Second
)

// Parse reads the report of a RECV_ or SEND_RTCP_MESSAGE in one pass over its
// lines, without allocating. own is the SSRC that FreeSWITCH sends with (its
// variable rtp_use_ssrc); of several blocks of an audio report the one about
// own is taken, or the first if own is 0. An event that has no such block gives
// a Report without HasBlock. A field that is not a number, or missing from a
// block, is ErrMalformed.
func Parse(e event.Event, own uint32) (Report, error) {
	r := Report{Direction: Outbound}
	if string(e.ID().Name) == event.SendRTCP {
		r.Direction = Inbound
	}
	var (
		blocks [maxBlocks]block
		sender uint32
		msw    uint32
		lsw    uint32
	)
	for rest := e.Raw(); len(rest) > 0; {
		var name, value []byte
		var ok bool
		if name, value, rest, ok = event.Cut(rest); !ok {
			continue
		}
		good := true
		switch name[0] {
		case 'S':
			switch {
			case string(name) == "SSRC":
				sender, good = hex32(value)
			case bytes.HasPrefix(name, []byte("Source")):
				good = blockField(&blocks, r.Direction, name[len("Source"):], value)
			}
		case 'R':
			switch {
			case string(name) == "RTP-Rate":
				r.Rate, good = dec32(value)
			case bytes.HasPrefix(name, []byte("Rtt")):
				good = rttField(&blocks, name[len("Rtt"):], value)
			}
		case 'N':
			switch string(name) {
			case "NTP-Most-Significant-Word":
				msw, good = dec32(value)
			case "NTP-Least-Significant-Word":
				lsw, good = dec32(value)
			}
		}
		if !good {
			return Report{}, fmt.Errorf("%w: %s is %q", ErrMalformed, name, value)
		}
	}
	r.SenderNTP = uint64(msw)<<32 | uint64(lsw)
	b := choose(&blocks, &r, own)
	if b == nil {
		r.Artefacts |= NoBlock
		return r, nil
	}
	if !b.hasLost || !b.hasHighest || !b.hasSSRC {
		return Report{}, fmt.Errorf("%w: incomplete report block", ErrMalformed)
	}
	r.fill(b, sender)
	return r, nil
}

// choose finds the block about our stream.
func choose(blocks *[maxBlocks]block, r *Report, own uint32) *block {
	if r.Direction == Outbound && own != 0 && r.Media() == Audio {
		for i := range blocks {
			if blocks[i].present && blocks[i].ssrc == own {
				return &blocks[i]
			}
		}
		return nil
	}
	if blocks[0].present {
		return &blocks[0]
	}
	return nil
}

func (r *Report) fill(b *block, sender uint32) {
	r.HasBlock = true
	// SEND's SSRC is that of the stream received; its Source-SSRC is that of the
	// peer's RTCP, 0 until there was any.
	r.SSRC = b.ssrc
	if r.Direction == Inbound {
		r.SSRC = sender
	}
	r.Fraction = uint8(min(b.fraction, 255))
	r.Lost = int32(b.lost) // printed unsigned
	r.Highest, r.Jitter, r.LSR, r.DLSR = b.highest, b.jitter, b.lsr, b.dlsr
	if b.lsr == 0 || b.rtt == 0 || r.Direction == Inbound {
		return // FreeSWITCH repeats an old average, or has none
	}
	if rtt := time.Duration(b.rtt) * time.Microsecond; rtt > 0 && rtt < maxRTT {
		r.RTT = rtt
	} else {
		r.Artefacts |= RTTImplausible
	}
}
