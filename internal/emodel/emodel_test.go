package emodel_test

import (
	"encoding/csv"
	"errors"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/fsagent/fsagent/internal/emodel"
)

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }

var rate = map[string]func(emodel.Input) (emodel.Rating, error){
	"NB": emodel.Narrowband, "WB": emodel.Wideband, "FB": emodel.Fullband,
}

// TestVectors checks every part of the rating against values that independent
// transcriptions of the Recommendations print (column origin; C: computed from
// the equations only).
func TestVectors(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/vectors.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 56 {
		t.Errorf("got %d rows, want a header and 55", len(rows))
	}
	for _, row := range rows[1:] {
		v := make([]float64, len(row))
		for i := 2; i < len(row)-1; i++ {
			if row[i] == "" {
				continue
			}
			if v[i], err = strconv.ParseFloat(row[i], 64); err != nil {
				t.Fatal(err)
			}
		}
		r, err := rate[row[1]](emodel.Input{Ie: v[2], Bpl: v[3], BurstR: v[4], Ppl: v[5], Ta: v[6], A: v[7]})
		if err != nil {
			t.Errorf("%s: %v", row[0], err)
			continue
		}
		for i, got := range []float64{r.Idte, r.Idle, r.Idd, r.IeEff, r.R, r.MOS} {
			if want := v[8+i]; !near(got, want, 1e-4) {
				t.Errorf("%s %s: got %.6f, want %.6f", row[0], rows[0][8+i], got, want)
			}
		}
		if sum := r.Ro - r.Is - r.Idte - r.Idle - r.Idd - r.IeEff + r.A; !near(sum, r.R, 1e-9) {
			t.Errorf("%s: parts sum to %v, R is %v", row[0], sum, r.R)
		}
	}
}

// TestDefaults: the intermediate results of G.107 with every default.
func TestDefaults(t *testing.T) {
	t.Parallel()
	r, err := emodel.Narrowband(emodel.Input{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		got, want float64
	}{{"Ro", r.Ro, 94.768822}, {"Is", r.Is, 1.413568}, {"R", r.R, 93.206208}} {
		if !near(tt.got, tt.want, 1e-6) {
			t.Errorf("%s: got %.7f, want %.6f", tt.name, tt.got, tt.want)
		}
	}
}

// TestEchoProfiles: Id of the two profiles, in R points.
func TestEchoProfiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ ta, full, delayOnly float64 }{
		{50, 1.60, 0}, {100, 2.69, 0}, {150, 3.82, 0.16}, {200, 7.55, 3.04}, {250, 14.18, 8.92}, {300, 20.69, 14.76}, {400, 31.11, 24.07},
	} {
		full, _ := emodel.NarrowbandEcho(emodel.Input{Ta: tt.ta}, emodel.FullEcho)
		only, _ := emodel.NarrowbandEcho(emodel.Input{Ta: tt.ta}, emodel.DelayOnly)
		if got := full.Idte + full.Idle + full.Idd; !near(got, tt.full, 0.006) {
			t.Errorf("full, %v ms: got %.3f, want %.2f", tt.ta, got, tt.full)
		}
		if got := only.Idd; !near(got, tt.delayOnly, 0.006) || only.Idte != 0 || !near(only.Idle, 0.149, 0.001) {
			t.Errorf("delay only, %v ms: got %.3f, want %.2f", tt.ta, got, tt.delayOnly)
		}
	}
}

func TestMOS(t *testing.T) {
	t.Parallel()
	for r, want := range map[float64]float64{
		0: 1, 5: 1, 10: 1.035, 15: 1.123375, 20: 1.252, 25: 1.415625, 30: 1.609, 35: 1.826875, 40: 2.064, 45: 2.315125,
		50: 2.575, 55: 2.838375, 60: 3.1, 65: 3.354625, 70: 3.597, 75: 3.821875, 80: 4.024, 85: 4.198125, 90: 4.339,
		95: 4.441375, 100: 4.5, 93.2: 4.409286, 93.206208: 4.409406, -5: 1, 129: 4.5, math.Inf(1): 4.5, math.Inf(-1): 1,
	} {
		if got := emodel.MOS(r); !near(got, want, 1e-6) {
			t.Errorf("MOS(%v) = %.6f, want %.6f", r, got, want)
		}
	}
	if got := emodel.MOS(math.NaN()); got != 1 {
		t.Errorf("MOS(NaN) = %v, want 1", got)
	}
}

// TestScales: wideband and fullband MOS come from R/1.29 and R/1.48.
func TestScales(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ ie, bpl, ppl, want float64 }{
		{0, 0, 0, 4.5}, {1, 0, 0, 4.4940}, {8, 0, 0, 4.4206}, {13, 0, 0, 4.3371}, {41, 0, 0, 3.5123}, {56, 0, 0, 2.9220},
		{20, 4.3, 2, 3.4062},
	} {
		r, err := emodel.Wideband(emodel.Input{Ie: tt.ie, Bpl: tt.bpl, Ppl: tt.ppl})
		if err != nil {
			t.Fatal(err)
		}
		// The printed values leave Id out.
		if got := emodel.G1071.MOS(r.R + r.Idle); !near(got, tt.want, 5e-4) {
			t.Errorf("Ie,WB %v, %v %% loss: got %.4f, want %.4f", tt.ie, tt.ppl, got, tt.want)
		}
	}
	for r, want := range map[float64]float64{64.5: 2.575, 116.1: 4.339} {
		if got := emodel.G1071.MOS(r); !near(got, want, 1e-6) {
			t.Errorf("wideband MOS(%v) = %v, want %v", r, got, want)
		}
	}
	if got := emodel.G1072.MOS(148); got != 4.5 {
		t.Errorf("fullband MOS(148) = %v, want 4.5", got)
	}
}

func TestRFromMOS(t *testing.T) {
	t.Parallel()
	for mos, want := range map[float64]float64{3.1: 60, 3.597: 70, 4.024: 80, 4.339: 90, 3.5: 67.9615, 2.0: 38.6837, 1.5: 27.2688} {
		if got := emodel.RFromMOS(mos); !near(got, want, 1e-3) {
			t.Errorf("R(%v) = %.4f, want %v", mos, got, want)
		}
	}
	for r := 7.0; r < 100; r += 0.25 {
		if got := emodel.RFromMOS(emodel.MOS(r)); !near(got, r, 1e-6) {
			t.Errorf("R %v comes back as %v", r, got)
		}
	}
	if got := emodel.RFromMOS(5); got != 100 {
		t.Errorf("R(5) = %v, want 100", got)
	}
}

func TestInputRange(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, in := range []emodel.Input{
		{Ppl: -1, Bpl: 4}, {Ppl: 101, Bpl: 4}, {Ppl: nan, Bpl: 4}, {Ta: -1}, {Ta: nan}, {Ta: math.Inf(1)}, {A: 21}, {A: -1}, {A: nan},
		{Ie: nan}, {Ie: -1}, {Bpl: nan}, {Bpl: -1}, {Ie: math.Inf(1)},
	} {
		for name, f := range rate {
			if _, err := f(in); !errors.Is(err, emodel.ErrInput) {
				t.Errorf("%s %+v: got %v, want ErrInput", name, in, err)
			}
		}
	}
	if _, err := emodel.Narrowband(emodel.Input{Ppl: 1}); !errors.Is(err, emodel.ErrLossNotComputable) {
		t.Errorf("loss without Bpl: got %v, want ErrLossNotComputable", err)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   emodel.Input
		want emodel.Flags
	}{
		{emodel.Input{Ppl: 20, Bpl: 25.1}, 0},
		{emodel.Input{Ppl: 21, Bpl: 25.1}, emodel.Extrapolated},
		{emodel.Input{Ta: 501}, emodel.Extrapolated},
		{emodel.Input{Ppl: 1, Bpl: 25.1, BurstR: 8}, 0},
		{emodel.Input{Ppl: 2, Bpl: 25.1, BurstR: 3}, emodel.BurstOutOfRange},
		{emodel.Input{Ppl: 5, Bpl: 4.3, BurstR: 8}, emodel.BurstOutOfRange | emodel.Extrapolated},
		{emodel.Input{Ppl: 5, Bpl: 25.1, BurstR: math.NaN()}, 0},
	} {
		r, err := emodel.Narrowband(tt.in)
		if err != nil || r.Flags != tt.want {
			t.Errorf("%+v: got flags %b, %v, want %b", tt.in, r.Flags, err, tt.want)
		}
		if r.IeEff > 95 {
			t.Errorf("%+v: Ie,eff is %v", tt.in, r.IeEff)
		}
	}
}
