package rtcp

// Packet times that senders use, in microseconds (RFC 3551, 4.2, and Opus). What
// looks like a longer one is taken for an outage.
var packetTimes = [...]int64{2500, 5000, 10_000, 20_000, 30_000, 40_000, 60_000}

const (
	// defaultPacketUS is the packet time while nothing is known (RFC 3551, 4.2).
	defaultPacketUS = 20_000
	// shortestUS is how long an interval must be to tell anything of time:
	// events have times in steps of 20 ms.
	shortestUS = 1_000_000
)

// outage finds how much of a moving interval had no media, after the packet
// time, and returns when the stream seems to have stopped: atUS if it has not.
//
// Three things show it: the number stood still before (Silent); the number went
// on by less than half of what the time would make, which is also how silence
// suppression looks; nine of ten packets or more are missing. Scattered loss is
// no outage.
func (s *Stream) outage(atUS, packetUS int64, iv *Interval) (stoppedUS int64) {
	packet := s.packetTime(iv, packetUS)
	since := max(atUS-s.LastUS, 0)
	arrived := (iv.Expected - iv.Lost - iv.Flushed) * packet
	partial := iv.LengthUS >= shortestUS && since >= shortestUS && iv.Expected*packet*20 < since*9
	switch {
	case s.Silent:
		iv.Artefacts |= AfterNoMedia
		iv.LengthUS = max(atUS-s.StoppedUS, 0)
	case partial:
		iv.Artefacts |= PartialMedia
	case iv.LengthUS < shortestUS || iv.Lost*10 < iv.Expected*9:
		return atUS
	}
	iv.NoMediaUS = min(max(since-arrived, 0), since)
	s.SumNoMediaUS += iv.NoMediaUS
	if !partial || s.Silent {
		return atUS
	}
	return atUS - iv.NoMediaUS // if the next report finds the number where it is
}

// packetTime is the packet time of the stream: what the intervals showed, but no
// less than what was negotiated.
func (s *Stream) packetTime(iv *Interval, negotiated int64) int64 {
	least := negotiated
	if least <= 0 {
		least = defaultPacketUS
	}
	if iv.LengthUS >= shortestUS {
		each := iv.LengthUS / iv.Expected
		for i, p := range packetTimes {
			// Nearest on the list: the border is half way to the next.
			if i == len(packetTimes)-1 && each <= p || i < len(packetTimes)-1 && each < (p+packetTimes[i+1])/2 {
				if s.PacketUS == 0 || p < s.PacketUS {
					s.PacketUS = p
				}
				break
			}
		}
	}
	return max(least, s.PacketUS)
}
