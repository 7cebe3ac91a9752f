package rtcp

import (
	"math"
	"strings"
	"time"
)

// Media is what kind of RTP a report is about.
type Media uint8

// The media.
const (
	Audio Media = iota
	Video
	Text
)

// String is the value of the label media; audio is the default and empty.
func (m Media) String() string { return [...]string{"", "video", "text"}[m] }

// Media tells the kind by the only mark there is, RTP-Rate: 90000 is video and
// 0 is text. An inbound report is always about audio.
func (r Report) Media() Media {
	switch {
	case r.Direction == Inbound:
		return Audio
	case r.Rate == 90000:
		return Video
	case r.Rate == 0:
		return Text
	}
	return Audio
}

// Clock is the RTP clock in Hz of a stream with that codec, as FreeSWITCH names
// it. rate is what FreeSWITCH says of it (RTP-Rate, rtp_use_codec_rate): right
// for every codec but Opus, whose RTP clock is 48000 at any sample rate
// (RFC 7587, 4.1). G.722's is 8000 although it samples at 16000 (RFC 3551,
// 4.5.2). 0 is unknown.
func Clock(codec string, rate uint32) uint32 {
	switch {
	case strings.EqualFold(codec, "opus"):
		return 48000
	case strings.EqualFold(codec, "G722"):
		return 8000
	}
	return rate
}

// Jitter converts units of an RTP clock to a time, rounded to the nearest
// nanosecond. ok is false if the clock is unknown or the jitter is a minute or
// more, which no receiver measures.
func Jitter(ticks, clock uint32) (d time.Duration, ok bool) {
	if clock == 0 {
		return 0, false
	}
	ns := (uint64(ticks)*uint64(time.Second) + uint64(clock)/2) / uint64(clock)
	if ns > math.MaxInt64 || time.Duration(ns) >= time.Minute {
		return 0, false
	}
	return time.Duration(ns), true
}
