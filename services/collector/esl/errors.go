package esl

import "errors"

// What can be wrong with a connection. Every error of this package wraps one of
// these, or is the operating system's.
var (
	// ErrHeaderTooLong is returned for a frame whose header lines do not end
	// within MaxHeader bytes.
	ErrHeaderTooLong = errors.New("header lines too long")
	// ErrContentLength is returned for a Content-Length that is not a number,
	// or that stands twice with two values.
	ErrContentLength = errors.New("bad Content-Length")
	// ErrBodyTooLarge is returned for a body over the limit of the reader.
	ErrBodyTooLarge = errors.New("body too large")
	// ErrTruncated is returned when the stream ends inside a frame.
	ErrTruncated = errors.New("stream ended inside a frame")
	// ErrNotESL is returned for bytes that FreeSWITCH's event socket would not send.
	ErrNotESL = errors.New("not a FreeSWITCH event socket")

	// ErrAuth is returned when the password, or the user, is refused.
	ErrAuth = errors.New("authentication refused")
	// ErrRejected is returned when the access list of the event socket refuses us.
	ErrRejected = errors.New("rejected by the access list")
	// ErrPermission is returned when the user may not have an event or use a command.
	ErrPermission = errors.New("permission denied")
	// ErrRefused is returned for any other reply that begins with -ERR.
	ErrRefused = errors.New("command refused")
	// ErrTimeout is returned when the server does not answer in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrIdle is returned when nothing arrived for the idle timeout and the
	// probe that was sent then was not answered either.
	ErrIdle = errors.New("connection is dead")
	// ErrDisconnected is returned when the server says that it closes the connection.
	ErrDisconnected = errors.New("disconnected by the server")
	// ErrLineBreak is returned for a command that holds a line break: it would
	// be read as more than one command.
	ErrLineBreak = errors.New("command holds a line break")
)
