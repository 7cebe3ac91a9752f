package esl

import (
	"bytes"
	"fmt"
)

// parseHead reads header lines, in any order, with the empty line at their end.
func parseHead(head []byte) (f Frame, bodyLen int, err error) {
	bodyLen = -1
	typed := false
	for rest := head[:len(head)-1]; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		line := rest[:i]
		rest = rest[i+1:]
		colon := bytes.Index(line, []byte(": "))
		if colon <= 0 {
			return f, 0, fmt.Errorf("%w: header line %q", ErrNotESL, line[:min(len(line), 80)])
		}
		value := line[colon+2:]
		switch string(line[:colon]) {
		case "Content-Length":
			n, ok := length(value)
			if !ok || bodyLen >= 0 && n != bodyLen {
				return f, 0, fmt.Errorf("%w: %q", ErrContentLength, value[:min(len(value), 80)])
			}
			bodyLen = n
		case "Content-Type":
			f.Type, typed = typeOf(value), true
		case "Reply-Text":
			f.Reply = value
		}
	}
	if !typed {
		return f, 0, fmt.Errorf("%w: frame without Content-Type", ErrNotESL)
	}
	return f, max(bodyLen, 0), nil
}

// length reads a decimal number of at most ten digits.
func length(v []byte) (n int, ok bool) {
	if len(v) == 0 || len(v) > 10 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func typeOf(v []byte) Type {
	switch string(v) {
	case "text/event-plain":
		return EventPlain
	case "command/reply":
		return CommandReply
	case "api/response":
		return APIResponse
	case "auth/request":
		return AuthRequest
	case "text/disconnect-notice":
		return DisconnectNotice
	case "text/rude-rejection":
		return RudeRejection
	case "log/data":
		return LogData
	}
	return Other
}
