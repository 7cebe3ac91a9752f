package esl

import (
	"bytes"
	"fmt"
	"time"

	"github.com/percipia/eslgo/command"
)

// API runs an api command, such as "show" with "channels as json", and returns
// its output. The connection must be one without events, because no event is sent
// while a command runs (mod_event_socket.c, api_exec). An output that begins
// with -ERR is an error wrapping ErrRefused or ErrPermission.
func (c *Conn) API(name, arguments string) ([]byte, error) {
	c.patient = time.Now().Add(longestOutput)
	defer func() { c.patient = time.Time{} }()
	f, err := c.roundTrip("api "+name, command.API{Command: name, Arguments: arguments}, APIResponse)
	if err != nil {
		return nil, err
	}
	out := f.Body
	if f.Type == CommandReply {
		out = f.Reply
	}
	if bytes.HasPrefix(out, []byte("-ERR")) {
		return nil, refusal("api "+name, out)
	}
	if f.Type != APIResponse {
		return nil, fmt.Errorf("api %s: %w: a reply without output", name, ErrNotESL)
	}
	return bytes.Clone(out), nil
}
