package emodel

import "math"

// Defaults of G.107 Table 3, and what follows from them.
const (
	slr, rlr   = 8.0, 2.0     // loudness ratings, dB
	stmr, lstr = 15.0, 18.0   // sidetone masking and listener sidetone, dB
	ds         = 3.0          // D factor, send side
	telr, wepl = 65.0, 110.0  // talker echo loudness and weighted echo path loss, dB
	qdu        = 1.0          // quantising distortion units
	nc, nfor   = -70.0, -64.0 // circuit noise dBm0p, noise floor dBmp
	ps, pr     = 35.0, 35.0   // room noise, send and receive, dB(A)
	olr        = slr + rlr    // overall loudness rating
	nforWide   = -96.0        // noise floor used for No,WB (not in G.107.1)
	stScale    = 1.0          // sT of the default delay sensitivity class
	meanDelay  = 100.0        // mT of that class, ms
)

// Echo says which echo terms of the delay impairment are computed.
type Echo uint8

// The profiles. FreeSWITCH cannot see echo paths.
const (
	// FullEcho takes T = Ta, Tr = 2 Ta with the default echo losses.
	FullEcho Echo = iota
	// DelayOnly takes T = Tr = 0: only the pure delay counts.
	DelayOnly
)

// Narrowband rates by G.107 with the default parameters and the full echo
// profile. The error, if any, is ErrInput or ErrLossNotComputable.
func Narrowband(in Input) (Rating, error) { return NarrowbandEcho(in, FullEcho) }

// NarrowbandEcho is Narrowband with a choice of echo terms.
func NarrowbandEcho(in Input, echo Echo) (Rating, error) {
	flags, err := in.check()
	if err != nil {
		return Rating{}, err
	}
	t, tr := in.Ta, 2*in.Ta
	if echo == DelayOnly {
		t, tr = 0, 0
	}
	no := noise(nfor)
	ro := 15 - float64(1.5*(slr+no)) // (7-2)
	r := Rating{
		Ro: ro, Is: simultaneous(no, ro, t), A: in.A,
		Idte: talkerEcho(no, t, 2.5, 0), Idle: listenerEcho(ro, tr), Idd: pureDelay(in.Ta),
	}
	var cut bool
	if r.IeEff, cut = ieEff(in.Ie, in.Bpl, in.Ppl, burstRatio(in.BurstR), 95); cut {
		flags |= Extrapolated
	}
	r.sum(G107, flags)
	return r, nil
}

func (r *Rating) sum(s Standard, f Flags) {
	r.R = r.Ro - r.Is - (r.Idte + r.Idle + r.Idd) - r.IeEff + r.A // (7-1)
	r.MOS, r.Flags = s.MOS(r.R), f
}

// noise is No, (7-3) to (7-7), with a noise floor nfor.
func noise(nfor float64) float64 {
	d := ps - olr - ds - 14
	nos := ps - slr - ds - 100 + float64(0.004*d*d)
	pre := pr + float64(10*math.Log10(1+math.Pow(10, (10-lstr)/10)))
	e := pre - 35
	nor := rlr - 121 + pre + float64(0.008*e*e)
	nfo := nfor + rlr
	return 10 * math.Log10(power(nc)+power(nos)+power(nor)+power(nfo))
}

func power(db float64) float64 { return math.Pow(10, db/10) }

// simultaneous is Is, (7-8) to (7-17).
func simultaneous(no, ro, t float64) float64 {
	xolr := olr + float64(0.2*(64+no-rlr))
	x := float64(xolr / 8)
	iolr := float64(20 * (smooth(x, 8) - x))
	stmro := float64(-10 * math.Log10(power(-stmr)+float64(math.Exp(-t/4)*power(-telr))))
	ist := float64(12*smooth((stmro-13)/6, 8)) - float64(28*smooth((stmro+1)/19.4, 35)) -
		float64(13*smooth((stmro-3)/33, 13)) + 29
	q := 37 - float64(15*math.Log10(qdu))
	g := 1.07 + float64(0.258*q) + float64(0.0602*q*q)
	y := (ro-100)/15 + 46/8.4 - g/9
	z := 46.0/30 - g/40
	iq := float64(15 * math.Log10(1+math.Pow(10, y)+math.Pow(10, z)))
	return iolr + ist + iq
}

// smooth is [1 + x^n]^(1/n).
func smooth(x, n float64) float64 { return math.Pow(1+math.Pow(x, n), 1/n) }

// talkerEcho is Idte, (7-19) to (7-22); with slope 3 and gain K also (7-5) to
// (7-10) of G.107.1. It is 0 below 1 ms.
func talkerEcho(no, t, slope, k float64) float64 {
	if t < 1 {
		return 0
	}
	roe := float64(-1.5 * (no - rlr))
	terv := telr + k - float64(40*math.Log10((1+t/10)/(1+t/150))) + float64(6*math.Exp(-0.3*t*t))
	re := 80 + float64(slope*(terv-14))
	h := float64((roe - re) / 2)
	return float64(h+math.Sqrt(float64(h*h)+100)-1) * (1 - math.Exp(-t))
}

// listenerEcho is Idle, (7-25) and (7-26).
func listenerEcho(ro, tr float64) float64 {
	rle := float64(10.5 * (wepl + 7) * math.Pow(tr+1, -0.25))
	h := float64((ro - rle) / 2)
	return h + math.Sqrt(float64(h*h)+169)
}

// pureDelay is Idd, (7-27) and (7-28), for the default sensitivity class.
func pureDelay(ta float64) float64 {
	if ta <= meanDelay {
		return 0
	}
	x := math.Log10(ta/meanDelay) / math.Log10(2)
	const n = 6 * stScale
	return 25 * (smooth(x, n) - float64(3*smooth(x/3, n)) + 2)
}
