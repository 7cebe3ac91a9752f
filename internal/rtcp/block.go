package rtcp

// block is one report block as its headers give it.
type block struct {
	present                      bool
	ssrc, highest, jitter        uint32
	lost, fraction, lsr, dlsr    uint32
	rtt                          int64 // microseconds
	hasLost, hasHighest, hasSSRC bool
}

// blockField sets a field of "Source-<field>" or "Source<n>-<field>"; rest is
// the name without "Source". Unknown fields are left alone.
func blockField(blocks *[maxBlocks]block, d Direction, rest, value []byte) (ok bool) {
	i := 0
	if d == Outbound {
		if len(rest) == 0 || rest[0] < '0' || rest[0] >= '0'+maxBlocks {
			return true
		}
		i, rest = int(rest[0]-'0'), rest[1:]
	}
	if len(rest) == 0 || rest[0] != '-' {
		return true
	}
	b := &blocks[i]
	ok = true
	switch string(rest[1:]) {
	case "SSRC":
		b.ssrc, ok = hex32(value)
		b.hasSSRC = true
	case "Fraction":
		b.fraction, ok = dec32(value)
	case "Lost":
		b.lost, ok = dec32(value)
		b.hasLost = true
	case "Highest-Sequence-Number-Received":
		b.highest, ok = dec32(value)
		b.hasHighest = true
	case "Jitter":
		b.jitter, ok = dec32(value)
	case "LSR":
		b.lsr, ok = dec32(value)
	case "DLSR":
		b.dlsr, ok = dec32(value)
	default:
		return true
	}
	b.present = true
	return ok
}

// rttField sets the time of "Rtt<n>-Avg"; rest is the name without "Rtt".
func rttField(blocks *[maxBlocks]block, rest, value []byte) (ok bool) {
	if len(rest) != len("0-Avg") || rest[0] < '0' || rest[0] >= '0'+maxBlocks || string(rest[1:]) != "-Avg" {
		return true
	}
	blocks[rest[0]-'0'].rtt, ok = micros(value)
	return ok
}
