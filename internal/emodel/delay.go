package emodel

import (
	"math"
	"sync"
)

// delays is how many delays have their rating computed in advance: 0 to 1000 ms.
const delays = 1001

// bases are the ratings without loss and without codec impairment, by Standard
// and Ta in milliseconds. Rounded to 1e-9, which is far more than a MOS shows
// and far less than two architectures' exponential functions differ by.
var bases = sync.OnceValue(func() *[G1072 + 1][delays]float64 {
	var all [G1072 + 1][delays]float64
	for _, s := range [...]Standard{G107, G1071, G1072} {
		for ta := range delays {
			all[s][ta] = baseOf(s, int64(ta))
		}
	}
	return &all
})

// baseAt is the rating without loss at a delay in milliseconds.
func (m *Model) baseAt(s Standard, ta int64) float64 {
	if ta < delays {
		return m.base[s][ta]
	}
	return baseOf(s, ta)
}

func baseOf(s Standard, ta int64) float64 {
	r, err := s.Rate(Input{Ta: float64(ta)})
	if err != nil {
		panic(err) // delays of 0 and more are inside every model
	}
	return math.Round(r.R*1e9) / 1e9
}

// Rate computes the rating of an input with all its parts. The error, if any, is
// ErrInput or ErrLossNotComputable.
func (s Standard) Rate(in Input) (Rating, error) {
	switch s {
	case G107:
		return Narrowband(in)
	case G1071:
		return Wideband(in)
	case G1072:
		return Fullband(in)
	}
	return Rating{}, ErrInput
}

// lookAheadUS is the look-ahead of the encoder in microseconds: 0.25 ms for
// G.711, 5 ms for G.729. Of the others none is published here; they count 0.
func (c *Codec) lookAheadUS() int64 {
	switch {
	case c.g711():
		return 250
	case c.Name == "G729":
		return 5000
	}
	return 0
}
