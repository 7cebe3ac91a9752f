package emodel

import "math"

// Assumptions are what cannot be seen in RTCP.
type Assumptions struct {
	// Concealment: the receiver conceals lost G.711 packets (Bpl 25.1; without
	// 4.3). The two differ by 1.75 MOS at 5 % loss.
	Concealment bool
	// Provisional allows constants that are not verified.
	Provisional bool
}

// Model gives listening quality by codec and loss. It is made once and is safe
// for use by many goroutines. Listening quality leaves the delay out: Ta is 0.
type Model struct {
	assume Assumptions
	base   [G1072 + 1]float64 // R without Ie,eff, at Ta = 0
}

// NewModel makes a Model.
func NewModel(a Assumptions) *Model {
	m := &Model{assume: a}
	for s, rate := range map[Standard]func(Input) (Rating, error){G107: Narrowband, G1071: Wideband, G1072: Fullband} {
		r, err := rate(Input{})
		if err != nil {
			panic(err) // no delay and no loss are inside every model
		}
		m.base[s] = math.Round(r.R*1e9) / 1e9
	}
	return m
}

// Quality is a MOS and what it was made with.
type Quality struct {
	// MOS rounded to 1e-6, 1 to 4.5.
	MOS      float64
	Standard Standard
	// Concealed: the assumption of concealment is in it.
	Concealed bool
}

// Quality of a codec, as FreeSWITCH names it, when of expected packets lost are
// lost (0 <= lost <= expected, 0 < expected). The error, if any, is
// ErrUnknownCodec, ErrLossNotComputable or ErrInput. The burst ratio counts as
// 1, because RTCP does not tell it.
func (m *Model) Quality(codec string, lost, expected int64) (Quality, error) {
	c, ok := lookup(codec)
	if !ok || c.Mark == FromMemory && !m.assume.Provisional {
		return Quality{}, ErrUnknownCodec
	}
	if expected <= 0 || lost < 0 || lost > expected {
		return Quality{}, ErrInput
	}
	q := Quality{Standard: c.Standard}
	if c.g711() {
		q.Concealed = m.assume.Concealment
		if !q.Concealed {
			c.Bpl = bplBare
		}
	}
	if lost > 0 && c.Bpl == 0 {
		return Quality{}, ErrLossNotComputable
	}
	scale := 95.0
	if c.Standard == G1072 {
		scale = 132
	}
	ppl := 100 * float64(lost) / float64(expected)
	impairment, _ := ieEff(c.Ie, c.Bpl, ppl, 1, scale)
	q.MOS = math.Round(c.Standard.MOS(m.base[c.Standard]-impairment)*1e6) / 1e6
	return q, nil
}
