package emodel_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/emodel"
)

// TestQuality has golden values to the last bit: they are equal on every
// architecture.
func TestQuality(t *testing.T) {
	t.Parallel()
	concealed := emodel.Assumptions{Concealment: true}
	for _, tt := range []struct {
		name           string
		assume         emodel.Assumptions
		codec          string
		lost, expected int64
		want           float64
		standard       emodel.Standard
		err            error
	}{
		{"clean", concealed, "PCMU", 0, 250, 4.409406, emodel.G107, nil},
		{"1 %", concealed, "PCMU", 1, 100, 4.328232, emodel.G107, nil},
		{"5 %", concealed, "PCMA", 5, 100, 3.923091, emodel.G107, nil},
		{"5 %, no concealment", emodel.Assumptions{}, "PCMU", 5, 100, 2.16962, emodel.G107, nil},
		{"all lost", concealed, "PCMU", 100, 100, 1.17702, emodel.G107, nil},
		{"lower case", concealed, "pcmu", 0, 1, 4.409406, emodel.G107, nil},
		{"G.729 clean", concealed, "G729", 0, 250, 4.104594, emodel.G107, nil},
		{"G.729 2 %", concealed, "G729", 2, 100, 3.787558, emodel.G107, nil},
		{"G.723.1 2 %", concealed, "G723", 2, 100, 3.567147, emodel.G107, nil},
		{"G.726 clean", concealed, "AAL2-G726-32", 0, 250, 4.235352, emodel.G107, nil},
		{"G.726 with loss", concealed, "AAL2-G726-32", 1, 250, 0, 0, emodel.ErrLossNotComputable},
		{"G.722 by default", concealed, "G722", 0, 250, 0, 0, emodel.ErrUnknownCodec},
		{"G.722 provisional", emodel.Assumptions{Provisional: true}, "G722", 0, 250, 4.334152, emodel.G1071, nil},
		{"G.722 provisional with loss", emodel.Assumptions{Provisional: true}, "G722", 1, 250, 0, 0, emodel.ErrLossNotComputable},
		{"GSM by default", concealed, "GSM", 0, 250, 0, 0, emodel.ErrUnknownCodec},
		{"Opus", emodel.Assumptions{Provisional: true}, "opus", 0, 250, 0, 0, emodel.ErrUnknownCodec},
		{"none", concealed, "", 0, 250, 0, 0, emodel.ErrUnknownCodec},
		{"nothing expected", concealed, "PCMU", 0, 0, 0, 0, emodel.ErrInput},
		{"more lost than expected", concealed, "PCMU", 2, 1, 0, 0, emodel.ErrInput},
		{"negative", concealed, "PCMU", -1, 1, 0, 0, emodel.ErrInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, err := emodel.NewModel(tt.assume).Quality(tt.codec, tt.lost, tt.expected)
			if q.MOS != tt.want || !errors.Is(err, tt.err) || err == nil && q.Standard != tt.standard {
				t.Errorf("got %v by %v, %v, want %v by %v, %v", q.MOS, q.Standard, err, tt.want, tt.standard, tt.err)
			}
			g711 := strings.HasPrefix(strings.ToUpper(tt.codec), "PCM")
			if want := err == nil && g711 && tt.assume.Concealment; q.Concealed != want {
				t.Errorf("Concealed is %t, want %t", q.Concealed, want)
			}
		})
	}
}

// TestQualityIsTheModel: the short way gives what the equations give.
func TestQualityIsTheModel(t *testing.T) {
	t.Parallel()
	m := emodel.NewModel(emodel.Assumptions{Concealment: true})
	for lost := range int64(101) {
		q, err := m.Quality("PCMU", lost, 100)
		if err != nil {
			t.Fatal(err)
		}
		r := must(t, emodel.Narrowband, emodel.Input{Bpl: 25.1, Ppl: float64(lost)})
		if !near(q.MOS, r.MOS, 1e-6) {
			t.Errorf("%d %%: got %v, want %v", lost, q.MOS, r.MOS)
		}
	}
}

// TestBaseIsFarFromARoundingEdge: what a Model takes from math.Pow and math.Exp
// is rounded to 1e-9; an error in their last bit must not reach the result.
func TestBaseIsFarFromARoundingEdge(t *testing.T) {
	t.Parallel()
	for name, f := range rate {
		_, part := math.Modf(must(t, f, emodel.Input{}).R * 1e9)
		if math.Abs(part-0.5) < 0.001 {
			t.Errorf("%s: the base is %v of 1e-9 beyond a whole number", name, part)
		}
	}
}

// TestCodecs: the table is in order, and nothing stands in it without a source.
func TestCodecs(t *testing.T) {
	t.Parallel()
	codecs := emodel.Codecs()
	if !slices.IsSortedFunc(codecs, func(a, b emodel.Codec) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("codecs are not sorted by name")
	}
	for i, c := range codecs {
		if c.Source == "" || c.Mark == 0 || c.Standard == 0 || i > 0 && codecs[i-1].Name == c.Name {
			t.Errorf("row %+v", c)
		}
	}
}
