package emodel

// BurstRatio is BurstR of equation (7-30): the mean length of the losses over
// the mean length they would have at random, from packets lost, the number of
// runs they came in and packets expected. ok is false if there was no loss, or
// the numbers contradict each other.
func BurstRatio(lost, runs, expected int64) (ratio float64, ok bool) {
	if runs <= 0 || lost < runs || expected < lost {
		return 0, false
	}
	return float64(lost) / float64(runs) * (1 - float64(lost)/float64(expected)), true
}

// Markov is BurstR of a two-state model: p is the probability of a loss after a
// packet received, q that of a packet received after a loss. Each is over 0 and
// at most 1.
func Markov(p, q float64) (ratio float64, ok bool) {
	if !(p > 0 && p <= 1 && q > 0 && q <= 1) {
		return 0, false
	}
	return 1 / (p + q), true
}

// MouthToEar is Ta: one-way delay, jitter buffer, packet time and look-ahead of
// the codec, all in milliseconds.
func MouthToEar(oneWay, buffer, packet, lookAhead float64) float64 {
	return oneWay + buffer + packet + lookAhead
}
