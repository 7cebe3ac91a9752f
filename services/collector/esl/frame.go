package esl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxHeader is how long the header lines of a frame may be, in bytes.
	// Replies of FreeSWITCH are limited to 512 (mod_event_socket.c, listener_run).
	MaxHeader = 64 << 10
	// DefaultMaxBody is how long a body may be, in bytes, unless told otherwise.
	DefaultMaxBody = 16 << 20

	readerSize = 128 << 10 // kept for ever; a larger frame makes it grow for its time
)

// Type is the Content-Type of a frame.
type Type int

// The types that FreeSWITCH sends (mod_event_socket.c). A frame of a type not
// listed here is Other.
const (
	Other Type = iota
	AuthRequest
	CommandReply
	APIResponse
	EventPlain
	DisconnectNotice
	RudeRejection
	LogData
)

// Frame is one frame of the event socket. Its bytes belong to the reader and
// hold until the next call of Next.
type Frame struct {
	Type Type
	// Reply is Reply-Text of a CommandReply.
	Reply []byte
	// Body has Content-Length bytes; empty if there is none.
	Body []byte
}

// FrameReader cuts a stream of the event socket into frames. It reads ahead into
// one buffer, which never exceeds MaxHeader plus the largest body and grows only
// as bytes arrive; it allocates nothing per frame.
type FrameReader struct {
	src        io.Reader
	maxBody    int
	buf        []byte
	start, end int // the unread bytes of buf
	err        error
}

// NewFrameReader reads frames from src. A body over maxBody bytes is an error;
// 0 stands for DefaultMaxBody.
func NewFrameReader(src io.Reader, maxBody int) *FrameReader {
	if maxBody <= 0 {
		maxBody = DefaultMaxBody
	}
	return &FrameReader{src: src, maxBody: maxBody, buf: make([]byte, readerSize)}
}

// Next returns the next frame. At a clean end of the stream it returns io.EOF.
// Otherwise the error wraps ErrHeaderTooLong, ErrContentLength, ErrBodyTooLarge,
// ErrTruncated or ErrNotESL, or is the source's. After an error the framing is
// lost and every further call returns the same error.
func (r *FrameReader) Next() (Frame, error) {
	if r.err != nil {
		return Frame{}, r.err
	}
	f, err := r.next()
	if err != nil {
		r.err = err
		return Frame{}, err
	}
	return f, nil
}

func (r *FrameReader) next() (Frame, error) {
	headLen, err := r.fillHead()
	if err != nil {
		return Frame{}, err
	}
	f, n, err := parseHead(r.buf[r.start : r.start+headLen])
	if err != nil {
		return Frame{}, err
	}
	if n > r.maxBody {
		return Frame{}, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrBodyTooLarge, n, r.maxBody)
	}
	if r.end-r.start < headLen+n {
		for r.end-r.start < headLen+n {
			if err := r.fill(headLen + n); err != nil {
				return Frame{}, err
			}
		}
		// The bytes may have moved, and with them what f shows.
		f, _, _ = parseHead(r.buf[r.start : r.start+headLen])
	}
	f.Body = r.buf[r.start+headLen : r.start+headLen+n : r.start+headLen+n]
	r.start += headLen + n
	return f, nil
}

// fillHead reads until the header lines are complete and returns their length
// with the empty line.
func (r *FrameReader) fillHead() (int, error) {
	for searched := 0; ; {
		unread := r.buf[r.start:r.end]
		if i := bytes.Index(unread[searched:], []byte("\n\n")); i >= 0 && searched+i+2 <= MaxHeader {
			return searched + i + 2, nil
		}
		if err := checkFirstLine(unread); err != nil {
			return 0, err
		}
		if len(unread) >= MaxHeader {
			return 0, fmt.Errorf("%w: over %d bytes", ErrHeaderTooLong, MaxHeader)
		}
		searched = max(0, len(unread)-1)
		if err := r.fill(MaxHeader); err != nil {
			return 0, err
		}
	}
}

// checkFirstLine finds out early that the other side is not an event socket,
// because what it says may never end with an empty line.
func checkFirstLine(unread []byte) error {
	line, _, complete := bytes.Cut(unread, []byte("\n"))
	if complete && !bytes.Contains(line, []byte(": ")) {
		return fmt.Errorf("%w: it says %q", ErrNotESL, line[:min(len(line), 80)])
	}
	return nil
}

// fill reads once, making room for a frame of want bytes as far as needed.
func (r *FrameReader) fill(want int) error {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buf) > readerSize && want <= readerSize {
			r.buf = make([]byte, readerSize)
		}
	}
	if r.end == len(r.buf) || r.start+want > len(r.buf) && r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		grown := make([]byte, min(2*len(r.buf), MaxHeader+r.maxBody+readerSize))
		r.end = copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && r.end > r.start {
		return fmt.Errorf("%w, after %d bytes of it", ErrTruncated, r.end-r.start)
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
