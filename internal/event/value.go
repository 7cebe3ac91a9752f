package event

import (
	"bytes"
	"strconv"
)

// Decode undoes FreeSWITCH's percent-encoding. "_undef_" is "". A percent sign
// that is not followed by two hex digits is kept as it is; '+' is not a space.
func Decode(v []byte) string {
	if string(v) == "_undef_" {
		return ""
	}
	if bytes.IndexByte(v, '%') < 0 {
		return string(v)
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			hi, lo := unhex(v[i+1]), unhex(v[i+2])
			if hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, v[i])
	}
	return string(out)
}

// Encode is FreeSWITCH's percent-encoding of a header value
// (switch_utils.c, switch_url_encode_opt). The empty value is "_undef_".
func Encode(v string) string {
	if v == "" {
		return "_undef_"
	}
	const hex = "0123456789ABCDEF"
	var out []byte
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c <= ' ' || c > '~' || bytes.IndexByte([]byte("#%&+:;<=>?@[\\]^`{|}\""), c) >= 0 {
			out = append(out, '%', hex[c>>4], hex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// Uint reads an unsigned decimal number without allocating. ok is false for
// anything but digits and for values over 64 bits.
func Uint(v []byte) (n uint64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	if len(v) > 19 {
		n, err := strconv.ParseUint(string(v), 10, 64)
		return n, err == nil
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
