package emodel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/fsagent/fsagent/internal/emodel"
)

// TestProperties holds the model to what must be true of any input.
func TestProperties(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(107, 2015))
	for range 3000 {
		in := emodel.Input{
			Ie: random.Float64() * 40, Bpl: 1 + random.Float64()*40, BurstR: 1 + random.Float64(),
			Ppl: random.Float64() * 90, Ta: random.Float64() * 450,
		}
		for name, f := range rate {
			r := must(t, f, in)
			if r.MOS < 1 || r.MOS > 4.5 {
				t.Fatalf("%s %+v: MOS %v", name, in, r.MOS)
			}
			worse := in
			worse.Ppl += 1 + random.Float64()*9
			if in.Ppl*(1-1/in.BurstR) < in.Bpl-10 && must(t, f, worse).R >= r.R {
				t.Fatalf("%s %+v: more loss does not lower R", name, in)
			}
			slower := in
			slower.Ta = max(in.Ta, 100) + 1 + random.Float64()*50
			if must(t, f, slower).R >= r.R {
				t.Fatalf("%s %+v: more delay does not lower R", name, in)
			}
			clean := in
			clean.Ppl = 0
			if got := must(t, f, clean).IeEff; got != in.Ie {
				t.Fatalf("%s %+v: without loss Ie,eff is %v", name, in, got)
			}
		}
		bursty, single := in, in
		bursty.BurstR, single.BurstR = 2, 1
		bursty.Ppl, single.Ppl = 0.5, 0.5
		if must(t, emodel.Narrowband, bursty).R >= must(t, emodel.Narrowband, single).R {
			t.Fatalf("%+v: bursty loss is not worse", in)
		}
		nb, wb, fb := must(t, emodel.Narrowband, in), must(t, emodel.Wideband, in), must(t, emodel.Fullband, in)
		if !near(wb.Idd, 1.29*nb.Idd, 1e-9) || !near(fb.Idd, 1.48*nb.Idd, 1e-9) {
			t.Fatalf("%+v: Idd is %v, %v, %v", in, nb.Idd, wb.Idd, fb.Idd)
		}
	}
}

// TestMonotone: what a Model gives falls with loss and with delay, for every
// codec that it knows.
func TestMonotone(t *testing.T) {
	t.Parallel()
	m := emodel.NewModel(emodel.Assumptions{Concealed: []string{"PCMU"}, Provisional: true})
	for _, c := range emodel.Codecs() {
		before := 5.0
		for rtt := int64(1); rtt < 3_000_000; rtt += 10_000 {
			q, err := m.Quality(c.Name, 0, 100, emodel.Delay{RoundTripUS: rtt, PacketMS: 20})
			if err != nil || q.Conversational > before || q.Conversational > q.MOS || q.Conversational < 1 {
				t.Fatalf("%s: MOS-CQ %v at a round trip of %d us, %v before it, %v", c.Name, q.Conversational, rtt, before, err)
			}
			before = q.Conversational
		}
		before = 5.0
		for lost := int64(0); lost <= 100 && c.Bpl > 0; lost++ {
			q, err := m.Quality(c.Name, lost, 100, emodel.Delay{})
			if err != nil || q.MOS > before || q.MOS < 1 || q.MOS > 4.5 {
				t.Fatalf("%s: MOS %v at %d %% loss, %v before it, %v", c.Name, q.MOS, lost, before, err)
			}
			before = q.MOS
		}
	}
}

func must(t *testing.T, f func(emodel.Input) (emodel.Rating, error), in emodel.Input) emodel.Rating {
	t.Helper()
	r, err := f(in)
	if err != nil {
		t.Fatalf("%+v: %v", in, err)
	}
	return r
}
