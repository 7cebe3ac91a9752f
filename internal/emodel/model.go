package emodel

import (
	"math"
	"strings"
)

// Assumptions are what cannot be seen in RTCP.
type Assumptions struct {
	// Concealed names the G.711 codecs (PCMU, PCMA) whose lost packets the
	// receiver conceals: Bpl 25.1, for the others 4.3. The two differ by 1.75 MOS
	// at 5 % loss.
	Concealed []string
	// Provisional allows constants that are not verified.
	Provisional bool
	// JitterBufferMS is the depth of the receiver's jitter buffer. Milliseconds,
	// 0 to 500. It counts for conversational quality only.
	JitterBufferMS int
}

// Assumed is a set of inputs that were not measured. The bit of each is its
// number in the Assumption enumeration of fsagent.proto.
type Assumed uint32

// What can be assumed.
const (
	Concealment Assumed = 1 << (iota + 1)
	NoConcealment
	RandomLoss
	NoDiscard
	SymmetricDelay
	JitterBuffer
	PacketTime
	ProvisionalCodec
	EchoLoss
	NoAdvantage
)

// Model rates by codec, loss and delay. It is made once and is safe for use by
// many goroutines.
type Model struct {
	codecs  []Codec // with the Bpl that is assumed
	assumed []Assumed
	buffer  int
	base    *[G1072 + 1][delays]float64
}

// NewModel makes a Model.
func NewModel(a Assumptions) *Model {
	m := &Model{buffer: a.JitterBufferMS, base: bases()}
	for _, c := range codecs {
		if c.Mark == FromMemory && !a.Provisional {
			continue
		}
		assumed := RandomLoss | NoDiscard | NoAdvantage
		if c.Mark == FromMemory {
			assumed |= ProvisionalCodec
		}
		if c.g711() {
			c.Bpl = bplBare
			assumed |= NoConcealment
			for _, name := range a.Concealed {
				if strings.EqualFold(name, c.Name) {
					c.Bpl = bplConcealed
					assumed = assumed&^NoConcealment | Concealment
				}
			}
		}
		m.codecs, m.assumed = append(m.codecs, c), append(m.assumed, assumed)
	}
	return m
}

// Quality is what was rated, and with what.
type Quality struct {
	// MOS is listening quality: the delay is left out (Ta = 0). Rounded to 1e-6,
	// 1 to 4.5.
	MOS float64
	// Conversational is the MOS with the delay Ta; 0 if no delay is known.
	Conversational float64
	Standard       Standard
	// Inputs: Ta is that of Conversational, in whole milliseconds.
	Inputs  Input
	Assumed Assumed
	Flags   Flags
}

// Delay is what is known of the way to the ear.
type Delay struct {
	// RoundTripUS is the round-trip time in microseconds; 0 if it is unknown.
	RoundTripUS int64
	// PacketMS is the packet time in milliseconds; 0 if it is unknown, then 20.
	PacketMS int64
}

// Quality of a codec, as FreeSWITCH names it, when of expected packets lost are
// lost (0 <= lost <= expected, 0 < expected). The error, if any, is
// ErrUnknownCodec, ErrLossNotComputable or ErrInput.
func (m *Model) Quality(codec string, lost, expected int64, d Delay) (Quality, error) {
	i := m.find(codec)
	if i < 0 {
		return Quality{}, ErrUnknownCodec
	}
	if expected <= 0 || lost < 0 || lost > expected {
		return Quality{}, ErrInput
	}
	c := &m.codecs[i]
	if lost > 0 && c.Bpl == 0 {
		return Quality{}, ErrLossNotComputable
	}
	q := Quality{Standard: c.Standard, Assumed: m.assumed[i]}
	q.Inputs = Input{Ie: c.Ie, Bpl: c.Bpl, Ppl: 100 * float64(lost) / float64(expected), BurstR: 1}
	scale := 95.0
	if c.Standard == G1072 {
		scale = 132
	}
	impairment, _ := ieEff(c.Ie, c.Bpl, q.Inputs.Ppl, 1, scale)
	if q.Inputs.Ppl > 20 {
		q.Flags |= Extrapolated
	}
	q.MOS = c.Standard.mos(m.base[c.Standard][0] - impairment)
	if d.RoundTripUS > 0 {
		ta := m.mouthToEar(c, d, &q)
		q.Inputs.Ta = float64(ta)
		q.Conversational = c.Standard.mos(m.baseAt(c.Standard, ta) - impairment)
		if ta > 500 {
			q.Flags |= Extrapolated
		}
	}
	return q, nil
}

// mouthToEar is Ta in whole milliseconds: half the round trip, jitter buffer,
// packet time, and look-ahead of the codec.
func (m *Model) mouthToEar(c *Codec, d Delay, q *Quality) int64 {
	q.Assumed |= SymmetricDelay | JitterBuffer | EchoLoss
	packet := d.PacketMS
	if packet <= 0 {
		packet = 20
		q.Assumed |= PacketTime
	}
	us := d.RoundTripUS/2 + (int64(m.buffer)+packet)*1000 + c.lookAheadUS()
	return (us + 500) / 1000
}

// find is the index of a codec by FreeSWITCH's name in any case; -1 for none.
func (m *Model) find(name string) int {
	for i := range m.codecs {
		if c := m.codecs[i].Name; len(c) == len(name) && (c == name || strings.EqualFold(c, name)) {
			return i
		}
	}
	return -1
}

// Known reports whether the model has constants for a codec.
func (m *Model) Known(codec string) bool { return m.find(codec) >= 0 }

// mos is MOS rounded to 1e-6, so that it is the same wherever it is computed.
func (s Standard) mos(r float64) float64 { return math.Round(s.MOS(r)*1e6) / 1e6 }
