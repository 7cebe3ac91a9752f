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
	concealed := emodel.Assumptions{Concealed: []string{"PCMA", "PCMU"}}
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
			q, err := emodel.NewModel(tt.assume).Quality(tt.codec, tt.lost, tt.expected, emodel.Delay{})
			if q.MOS != tt.want || !errors.Is(err, tt.err) || err == nil && q.Standard != tt.standard {
				t.Errorf("got %v by %v, %v, want %v by %v, %v", q.MOS, q.Standard, err, tt.want, tt.standard, tt.err)
			}
			if err != nil {
				return
			}
			var want emodel.Assumed
			if strings.HasPrefix(strings.ToUpper(tt.codec), "PCM") {
				if want = emodel.NoConcealment; tt.assume.Concealed != nil {
					want = emodel.Concealment
				}
			}
			if got := q.Assumed & (emodel.Concealment | emodel.NoConcealment); got != want {
				t.Errorf("assumed concealment %b, want %b", got, want)
			}
			if got := q.Assumed&emodel.ProvisionalCodec != 0; got != (tt.codec == "G722") {
				t.Errorf("provisional: %t", got)
			}
		})
	}
}

// TestQualityIsTheModel: the short way gives what the equations give.
func TestQualityIsTheModel(t *testing.T) {
	t.Parallel()
	m := emodel.NewModel(emodel.Assumptions{Concealed: []string{"PCMU"}})
	for lost := range int64(101) {
		q, err := m.Quality("PCMU", lost, 100, emodel.Delay{})
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
// is rounded to 1e-9; an error in their last bits (1e-14) must not reach the
// result at any delay that is computed in advance.
func TestBaseIsFarFromARoundingEdge(t *testing.T) {
	t.Parallel()
	for name, f := range rate {
		for ta := range 1001 {
			_, part := math.Modf(must(t, f, emodel.Input{Ta: float64(ta)}).R * 1e9)
			if math.Abs(part-0.5) < 2e-5 {
				t.Errorf("%s at %d ms: the base is %v of 1e-9 beyond a whole number", name, ta, part)
			}
		}
	}
}

// TestConversational: the delay is composed as E-model section 7.4 says, and the
// result is what the equations give for it.
func TestConversational(t *testing.T) {
	t.Parallel()
	m := emodel.NewModel(emodel.Assumptions{Concealed: []string{"PCMU"}, JitterBufferMS: 40})
	for _, tt := range []struct {
		name    string
		delay   emodel.Delay
		ta      float64
		assumed emodel.Assumed
	}{
		{"80 ms there and back", emodel.Delay{RoundTripUS: 80_000, PacketMS: 20}, 100, 0},
		{"packet time unknown", emodel.Delay{RoundTripUS: 80_000}, 100, emodel.PacketTime},
		{"half a second", emodel.Delay{RoundTripUS: 1_000_000, PacketMS: 20}, 560, 0},
		{"10 s", emodel.Delay{RoundTripUS: 10_000_000, PacketMS: 20}, 5060, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, err := m.Quality("PCMU", 2, 100, tt.delay)
			if err != nil {
				t.Fatal(err)
			}
			r := must(t, emodel.Narrowband, emodel.Input{Bpl: 25.1, Ppl: 2, Ta: tt.ta})
			if q.Inputs.Ta != tt.ta || !near(q.Conversational, r.MOS, 1e-6) || q.Conversational >= q.MOS {
				t.Errorf("got %v at %v ms, want %v at %v ms, under %v", q.Conversational, q.Inputs.Ta, r.MOS, tt.ta, q.MOS)
			}
			if q.Assumed&emodel.PacketTime != tt.assumed {
				t.Errorf("assumed %b", q.Assumed)
			}
			if got := q.Flags&emodel.Extrapolated != 0; got != (tt.ta > 500) {
				t.Errorf("extrapolated: %t", got)
			}
		})
	}
	q, err := m.Quality("PCMU", 2, 100, emodel.Delay{PacketMS: 20})
	if err != nil || q.Conversational != 0 {
		t.Errorf("without a round trip: got %v, %v, want no conversational quality", q.Conversational, err)
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
