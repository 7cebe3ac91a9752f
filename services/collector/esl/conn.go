// Package esl is a client of FreeSWITCH's event socket (mod_event_socket) that
// never lets it wait: one goroutine reads frames, in order, into one buffer.
//
// Dial makes a connection for events, and Conn.Next gives out its frames, or one
// for commands, which Conn.API runs; a command would stop the events of its
// connection. Filter decides which lines of an event may
// leave the switch. The package knows nothing of NATS.
package esl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/percipia/eslgo/command"
)

// Config says whom to call and how long to wait.
type Config struct {
	Address  string // host:port
	Password Password
	// User and Domain select the command userauth; both empty is auth.
	User, Domain string
	// Events are the names to subscribe to; none makes a connection for commands.
	Events []string

	DialTimeout  time.Duration
	ReplyTimeout time.Duration // for the greeting and for each reply; in an output, for more of it
	// IdleTimeout is after how long without a byte the server is probed, and
	// ProbeTimeout how long it then has to send one.
	IdleTimeout, ProbeTimeout time.Duration
	MaxBody                   int // bytes; 0 is DefaultMaxBody
}

// keepAlive finds a peer that is gone; the server sets none (mod_event_socket.c,
// listener_run).
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}

// Conn is a connection to one FreeSWITCH. One goroutine uses it; Close and Probe
// may be called by any.
type Conn struct {
	cfg    Config
	net    net.Conn
	frames *FrameReader
	// probing is set once events flow: from then on silence is not tolerated.
	probing bool
	// patient until then: an output may be long and the way slow, so what counts is
	// that more of it comes.
	patient time.Time
}

// longestOutput bounds the time that one output may take in all.
const longestOutput = 5 * time.Minute

// Dial connects, authenticates and subscribes. When ctx ends before that, it fails
// with the cause of that; a connection that was returned does not depend on ctx. Any
// other error wraps ErrRejected, ErrAuth, ErrPermission, ErrNotESL, ErrTimeout or
// another of this package, or is the operating system's.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	d := net.Dialer{Timeout: cfg.DialTimeout, KeepAliveConfig: keepAlive}
	nc, err := d.DialContext(ctx, "tcp", cfg.Address)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, timeout("dial", err)
	}
	c := &Conn{cfg: cfg, net: nc}
	c.frames = NewFrameReader(readerFunc(c.read), cfg.MaxBody)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err = c.open()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) open() error {
	if err := c.greeting(); err != nil {
		return err
	}
	auth := command.Auth{Password: string(c.cfg.Password)}
	if c.cfg.User != "" {
		auth.User = c.cfg.User
		if c.cfg.Domain != "" {
			auth.User += "@" + c.cfg.Domain
		}
	}
	if err := c.order("auth", auth); err != nil {
		// On auth any refusal is about who we are.
		if errors.Is(err, ErrRefused) {
			return fmt.Errorf("%w: %w", ErrAuth, err)
		}
		return err
	}
	if len(c.cfg.Events) == 0 {
		return nil
	}
	if err := c.order("subscribe", c.subscription()); err != nil {
		return err
	}
	c.probing = true
	return c.net.SetDeadline(time.Time{})
}

func (c *Conn) subscription() command.Command {
	return command.Event{Format: "plain", Listen: c.cfg.Events}
}

func (c *Conn) greeting() error {
	if err := c.net.SetDeadline(time.Now().Add(c.cfg.ReplyTimeout)); err != nil {
		return err
	}
	f, err := c.frames.Next()
	if err != nil {
		return timeout("greeting", err)
	}
	switch f.Type {
	case AuthRequest:
		return nil
	case RudeRejection:
		return fmt.Errorf("%w: %s", ErrRejected, text(f.Body))
	}
	return fmt.Errorf("%w: the first frame is not auth/request", ErrNotESL)
}

// order sends a command and waits for its reply, which comes before the first
// event that the command enables (mod_event_socket.c, listener_run).
func (c *Conn) order(what string, cmd command.Command) error {
	f, err := c.roundTrip(what, cmd, CommandReply)
	if err != nil {
		return err
	}
	return refusal(what, f.Reply)
}

// roundTrip gives the frame of the wanted type, or that of a refusal.
func (c *Conn) roundTrip(what string, cmd command.Command, want Type) (Frame, error) {
	if err := c.net.SetDeadline(time.Now().Add(c.cfg.ReplyTimeout)); err != nil {
		return Frame{}, err
	}
	if err := c.send(cmd); err != nil {
		return Frame{}, timeout(what, err)
	}
	for {
		f, err := c.frames.Next()
		if err != nil {
			return Frame{}, timeout(what, err)
		}
		switch f.Type {
		case want, CommandReply:
			return f, nil
		case RudeRejection:
			return Frame{}, fmt.Errorf("%w: %s", ErrRejected, text(f.Body))
		case DisconnectNotice:
			return Frame{}, fmt.Errorf("%s: %w: %s", what, ErrDisconnected, text(f.Body))
		}
	}
}

// send writes a command at once: while half of one is there the server sends no
// events (mod_event_socket.c, read_packet).
func (c *Conn) send(cmd command.Command) error {
	msg := cmd.BuildMessage()
	if strings.ContainsAny(msg, "\r\n") {
		return ErrLineBreak
	}
	_, err := c.net.Write([]byte(msg + "\n\n"))
	return err
}

// Next waits for the next frame, for ever while the server lives. When nothing
// came for IdleTimeout it repeats the subscription, which changes nothing, and
// fails with ErrIdle if no byte comes within ProbeTimeout. A disconnect notice
// is the error ErrDisconnected; other errors are those of FrameReader.Next.
func (c *Conn) Next() (Frame, error) {
	f, err := c.frames.Next()
	if err == nil && f.Type == DisconnectNotice {
		return f, fmt.Errorf("%w: %s", ErrDisconnected, text(f.Body))
	}
	return f, err
}

// Probe asks for an answer by repeating the subscription. The reply, which Next
// gives out as a frame of type CommandReply, comes behind all events that the
// server had for this connection then. Any goroutine may call it.
func (c *Conn) Probe() error {
	if err := c.net.SetWriteDeadline(time.Now().Add(c.cfg.ReplyTimeout)); err != nil {
		return err
	}
	return timeout("probe", c.send(c.subscription()))
}

// Close ends the connection. A Next that waits returns an error.
func (c *Conn) Close() error { return c.net.Close() }

// RemoteAddr is the server's address.
func (c *Conn) RemoteAddr() net.Addr { return c.net.RemoteAddr() }

func (c *Conn) read(p []byte) (int, error) {
	if !c.probing {
		if more := time.Now().Add(c.cfg.ReplyTimeout); more.Before(c.patient) {
			if err := c.net.SetReadDeadline(more); err != nil {
				return 0, err
			}
		}
		return c.net.Read(p)
	}
	if err := c.net.SetReadDeadline(time.Now().Add(c.cfg.IdleTimeout)); err != nil {
		return 0, err
	}
	n, err := c.net.Read(p)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if err := c.net.SetDeadline(time.Now().Add(c.cfg.ProbeTimeout)); err != nil {
		return 0, err
	}
	if err = c.send(c.subscription()); err == nil {
		n, err = c.net.Read(p)
	}
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, fmt.Errorf("%w: silent for %v and no answer to a probe in %v", ErrIdle, c.cfg.IdleTimeout, c.cfg.ProbeTimeout)
	}
	return n, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// refusal turns a reply into an error unless it is a yes.
func refusal(what string, reply []byte) error {
	s := text(reply)
	switch {
	case strings.HasPrefix(s, "-ERR invalid"):
		return fmt.Errorf("%s: %w: %s", what, ErrAuth, s)
	case strings.HasPrefix(s, "-ERR permission denied"):
		return fmt.Errorf("%s: %w: %s", what, ErrPermission, s)
	case strings.HasPrefix(s, "-"):
		return fmt.Errorf("%s: %w: %s", what, ErrRefused, s)
	}
	return nil
}

// timeout names the step that failed, if it did, and ErrTimeout if it took too long.
func timeout(step string, err error) error {
	if err == nil {
		return nil
	}
	var t interface{ Timeout() bool }
	if errors.As(err, &t) && t.Timeout() {
		return fmt.Errorf("%s: %w: %w", step, ErrTimeout, err)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// text makes what a server said fit for one line of a log.
func text(b []byte) string {
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(b[:min(len(b), 200)])), " "), "?")
}
