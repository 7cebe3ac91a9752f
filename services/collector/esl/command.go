package esl

import (
	"bytes"
	"context"
	"fmt"

	"github.com/percipia/eslgo/command"
)

// API runs an api command, such as "show" with "channels as json", and returns
// its output. The connection must be one without events. An output that begins
// with -ERR is an error wrapping ErrRefused or ErrPermission.
func (c *Conn) API(name, arguments string) ([]byte, error) {
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

// Command asks a FreeSWITCH one thing on a connection of its own, which it
// closes again. Use Dial without events and API for several.
func Command(ctx context.Context, cfg Config, name, arguments string) ([]byte, error) {
	cfg.Events = nil
	c, err := Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	out, err := c.API(name, arguments)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, err
}
