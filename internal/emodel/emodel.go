// Package emodel computes call quality by the E-model: a transmission rating R
// and from it a mean opinion score (MOS), from the codec, the packet loss and
// the delay. There are three models for three audio bands, each with its own R
// scale: G.107 (06/2015) narrowband, G.107.1 (06/2019) wideband and G.107.2
// (03/2023) fullband, provisional here. Their MOS are not comparable.
//
// Results are equal on every machine. Go may fuse x*y+z into one rounding on
// some architectures, also over an assignment; a conversion float64(x*y) forbids
// it (Go specification, "Floating-point operators"), and every product in this
// package that meets a sum has one. math.Exp and math.Pow may differ in the last bit between
// architectures: what a Model takes from them is rounded to 1e-9 once, when it
// is made, and from there on there are only the four basic operations. The
// functions Narrowband, Wideband and Fullband give full precision instead.
package emodel

import (
	"errors"
	"math"
)

// Standard is the Recommendation that a rating was made by.
type Standard uint8

// The Recommendations.
const (
	G107  Standard = iota + 1 // ITU-T G.107 (06/2015), R 0 to 100
	G1071                     // ITU-T G.107.1 (06/2019), R 0 to 129
	G1072                     // ITU-T G.107.2 (03/2023), R 0 to 148; provisional
)

// String is the name as labels have it.
func (s Standard) String() string {
	return [...]string{"", "g107", "g107.1", "g107.2"}[s]
}

// Edition is the Recommendation and edition whose equations were used.
func (s Standard) Edition() string {
	return [...]string{"", "ITU-T G.107 (06/2015)", "ITU-T G.107.1 (06/2019)", "ITU-T G.107.2 (03/2023), provisional"}[s]
}

// Why there is no rating.
var (
	// ErrUnknownCodec is returned for a codec without published constants.
	ErrUnknownCodec = errors.New("no E-model constants for the codec")
	// ErrLossNotComputable is returned when packets were lost and the loss
	// robustness of the codec is not published.
	ErrLossNotComputable = errors.New("no loss robustness for the codec")
	// ErrInput is returned for a value outside the model: a loss that is not 0
	// to 100 %, a delay below 0, an advantage outside 0 to 20, or not a number.
	ErrInput = errors.New("value outside the E-model")
)

// Input of a rating.
type Input struct {
	// Ie is the equipment impairment of the codec, on the scale of its model.
	Ie float64
	// Bpl is its packet-loss robustness; 0 if it is not known, which is allowed
	// as long as nothing is lost.
	Bpl float64
	// Ppl is the share of packets lost or discarded. Per cent, 0 to 100.
	Ppl float64
	// BurstR is the burst ratio. Under 1, or not a number, counts as 1. Wideband
	// and fullband have none; they ignore it.
	BurstR float64
	// Ta is the mouth-to-ear delay. Milliseconds, 0 or more.
	Ta float64
	// A is the advantage of access, 0 to 20.
	A float64
}

// Rating is a result with its parts: R = Ro - Is - Idte - Idle - Idd - IeEff + A.
// R is not limited to its scale; MOS is 1 to 4.5.
type Rating struct {
	R, Ro, Is, Idte, Idle, Idd, IeEff, A, MOS float64
	// Flags of an input outside the range the model was made for.
	Flags Flags
}

// Flags say that a rating was computed outside the range of its model.
type Flags uint8

// The flags.
const (
	// Extrapolated: loss over 20 %, delay over 500 ms, or a burst ratio that
	// would push the loss factor over 1.
	Extrapolated Flags = 1 << iota
	// BurstOutOfRange: a burst ratio over 2 with 2 % loss or more.
	BurstOutOfRange
)

func (in Input) check() (Flags, error) {
	if !(in.Ppl >= 0 && in.Ppl <= 100) || !(in.Ta >= 0) || math.IsInf(in.Ta, 0) || !(in.A >= 0 && in.A <= 20) ||
		!(in.Ie >= 0) || !(in.Bpl >= 0) || math.IsInf(in.Ie, 0) || math.IsInf(in.Bpl, 0) {
		return 0, ErrInput
	}
	if in.Ppl > 0 && in.Bpl == 0 {
		return 0, ErrLossNotComputable
	}
	var f Flags
	if in.Ppl > 20 || in.Ta > 500 {
		f |= Extrapolated
	}
	if in.BurstR > 2 && in.Ppl >= 2 {
		f |= BurstOutOfRange
	}
	return f, nil
}

// MOS of a narrowband rating (G.107, Annex B, B-4). The polynomial dips under 1
// for R under 6.5; the result does not.
func MOS(r float64) float64 {
	switch {
	case math.IsNaN(r) || r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	cubic := r * (r - 60) * (100 - r) * 7e-6
	return max(1, 1+float64(0.035*r)+float64(cubic))
}

// Rating of a narrowband MOS: the inverse of MOS for 1 to 4.5 and R of 6.5 to
// 100. Values outside are cut to that range.
func RFromMOS(mos float64) float64 {
	mos = min(max(mos, 1), 4.5)
	if mos == 4.5 {
		return 100
	}
	root := -903522 + float64(1113960*mos) - float64(202500*mos*mos)
	h := math.Atan2(15*math.Sqrt(max(root, 0)), 18566-float64(6750*mos)) / 3
	return 20 * (8 - float64(math.Sqrt(226)*math.Cos(h+math.Pi/3))) / 3
}

// MOS of a rating on the scale of its Recommendation.
func (s Standard) MOS(r float64) float64 {
	switch s {
	case G1071:
		return MOS(r / 1.29) // G.107.1, A-1
	case G1072:
		return MOS(r / 1.48) // G.107.2, Annex A
	}
	return MOS(r)
}

// ieEff is Ie,eff of equations (7-29) of G.107, (7-15) of G.107.1 and its like
// in G.107.2: scale is 95, 95 and 132.
func ieEff(ie, bpl, ppl, burst, scale float64) (v float64, cut bool) {
	if ppl == 0 {
		return ie, false
	}
	factor := ppl / (float64(ppl/burst) + bpl)
	if factor > 1 {
		factor, cut = 1, true
	}
	return ie + float64((scale-ie)*factor), cut
}

// burstRatio repairs a ratio that is unknown or under 1.
func burstRatio(b float64) float64 {
	if !(b >= 1) || math.IsInf(b, 0) {
		return 1
	}
	return b
}
