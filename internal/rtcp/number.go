package rtcp

import "github.com/fsagent/fsagent/internal/event"

// dec32 reads an unsigned 32-bit decimal number.
func dec32(v []byte) (uint32, bool) {
	n, ok := event.Uint(v)
	return uint32(n), ok && n <= 1<<32-1
}

// hex32 reads a 32-bit number of 1 to 8 hexadecimal digits.
func hex32(v []byte) (n uint32, ok bool) {
	if len(v) == 0 || len(v) > 8 {
		return 0, false
	}
	for _, c := range v {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// micros reads seconds printed with "%f" as whole microseconds, without going
// through floating point. FreeSWITCH prints six decimals; more are cut off.
// Anything over 10^12 seconds is not ok.
func micros(v []byte) (us int64, ok bool) {
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		v = v[1:]
	}
	digits, decimals := 0, -1
	for _, c := range v {
		switch {
		case c == '.' && decimals < 0:
			decimals = 0
		case c < '0' || c > '9':
			return 0, false
		case decimals >= 6:
		default:
			if us = us*10 + int64(c-'0'); us >= 1e18 {
				return 0, false
			}
			digits++
			if decimals >= 0 {
				decimals++
			}
		}
	}
	for decimals = max(decimals, 0); decimals < 6; decimals++ {
		us *= 10
		if us >= 1e18 {
			return 0, false
		}
	}
	if negative {
		us = -us
	}
	return us, digits > 0
}
