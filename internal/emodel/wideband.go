package emodel

// Wideband rates by G.107.1. Its equation (7-15) has no burst ratio, and the
// talker echo is that of the edition before Corrigendum 1 (01/2020). The error,
// if any, is ErrInput or ErrLossNotComputable.
func Wideband(in Input) (Rating, error) {
	flags, err := in.check()
	if err != nil {
		return Rating{}, err
	}
	const ro = 129.0 // (7-2)
	k := 18.0        // (7-10)
	if in.Ta < 100 {
		k = float64(0.08*in.Ta) + 10 // (7-9)
	}
	r := Rating{
		Ro: ro, A: in.A,
		Idte: talkerEcho(noise(nforWide), in.Ta, 3, k),
		Idle: listenerEcho(ro, 2*in.Ta),
		Idd:  1.29 * pureDelay(in.Ta), // (7-13)
	}
	r.IeEff, _ = ieEff(in.Ie, in.Bpl, in.Ppl, 1, 95)
	r.sum(G1071, flags&^BurstOutOfRange)
	return r, nil
}

// Fullband rates by G.107.2. Provisional: its constants are known from one
// secondary source, and its echo terms are taken as 0. The error, if any, is
// ErrInput or ErrLossNotComputable.
func Fullband(in Input) (Rating, error) {
	flags, err := in.check()
	if err != nil {
		return Rating{}, err
	}
	r := Rating{Ro: 148, A: in.A, Idd: 1.48 * pureDelay(in.Ta)}
	r.IeEff, _ = ieEff(in.Ie, in.Bpl, in.Ppl, 1, 132)
	r.sum(G1072, flags&^BurstOutOfRange)
	return r, nil
}
