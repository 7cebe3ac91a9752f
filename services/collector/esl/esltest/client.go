package esltest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	writeBuffer = 64 << 10
	maxCommand  = 64 << 10 // bytes; FreeSWITCH takes 10 MB (mod_event_socket.c, read_packet)
)

// client is one connection. Its goroutine reads commands; whoever plays events
// writes them; mu keeps the frames whole.
type client struct {
	srv  *Server
	conn net.Conn
	mode Mode
	in   *bufio.Reader

	authed bool
	user   User // its nil lists are all

	mu      sync.Mutex
	out     *bufio.Writer
	muted   bool
	names   map[string]bool
	all     bool
	custom  map[string]bool
	filters filters
	head    []byte

	countMu sync.Mutex // never held while writing
	count   ClientStats
}

func newClient(s *Server, conn net.Conn, mode Mode) *client {
	return &client{
		srv: s, conn: conn, mode: mode,
		in:     bufio.NewReader(conn),
		out:    bufio.NewWriterSize(conn, writeBuffer),
		names:  make(map[string]bool),
		custom: make(map[string]bool),
		count:  ClientStats{Remote: conn.RemoteAddr().String()},
	}
}

func (c *client) serve() {
	defer c.srv.leave(c)
	defer c.conn.Close()
	switch c.mode {
	case Silent:
		io.Copy(io.Discard, c.conn) // until the client, or Close, ends it
		return
	case Foreign:
		c.text("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request")
		return
	case Rejecting:
		const body = "Access Denied, go away.\n"
		c.text(fmt.Sprintf("Content-Type: text/rude-rejection\nContent-Length: %d\n\n%s", len(body), body))
		c.goodbye()
		return
	}
	c.text("Content-Type: auth/request\n\n")
	for {
		lines, err := c.readCommand()
		if err != nil {
			return
		}
		if !c.execute(lines) {
			c.goodbye()
			return
		}
	}
}

// readCommand reads lines up to an empty one, and the body of a Content-Length.
// Empty lines before a command are ignored (mod_event_socket.c, read_packet).
func (c *client) readCommand() ([]string, error) {
	var lines []string
	for size := 0; ; {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if size += len(line); size > maxCommand {
			return nil, bufio.ErrTooLong
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text != "" {
			lines = append(lines, text)
			continue
		}
		if len(lines) > 0 {
			return lines, c.skipBody(lines)
		}
	}
}

func (c *client) skipBody(lines []string) error {
	for _, l := range lines[1:] {
		if name, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(name, "Content-Length") {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 24)
			if err != nil {
				return err
			}
			_, err = c.in.Discard(int(n))
			return err
		}
	}
	return nil
}

// event writes a frame if the client wants the event.
func (c *client) event(name, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted || !c.wants(name, raw) {
		return
	}
	c.head = append(c.head[:0], "Content-Length: "...)
	c.head = strconv.AppendInt(c.head, int64(len(raw)), 10)
	c.head = append(c.head, "\nContent-Type: text/event-plain\n\n"...)
	c.put(c.head)
	if c.put(raw) == nil {
		c.countMu.Lock()
		c.count.Events++
		c.countMu.Unlock()
	}
}

func (c *client) wants(name, raw []byte) bool {
	switch {
	case c.all:
	case bytes.Equal(name, []byte("CUSTOM")):
		if !c.custom[string(header(raw, "Event-Subclass"))] {
			return false
		}
	case !c.names[string(name)]:
		return false
	}
	return c.filters.pass(raw)
}

// put writes under the lock and measures how long the client lets it wait.
func (c *client) put(b []byte) error {
	began := time.Time{}
	if len(b) > c.out.Available() {
		began = time.Now()
	}
	_, err := c.out.Write(b)
	c.wrote(len(b), began)
	return err
}

func (c *client) wrote(bytes int, began time.Time) {
	c.countMu.Lock()
	defer c.countMu.Unlock()
	c.count.Bytes += uint64(bytes)
	if !began.IsZero() {
		c.count.LongestBlock = max(c.count.LongestBlock, time.Since(began))
	}
}

func (c *client) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.muted {
		c.put(b)
	}
}

func (c *client) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted || c.out.Buffered() == 0 {
		return
	}
	began := time.Now()
	c.out.Flush() // an error stays with the writer; the reading side ends the connection
	c.wrote(0, began)
}

func (c *client) text(s string) {
	c.write([]byte(s))
	c.flush()
}

func (c *client) reply(text string, headers ...string) {
	var b strings.Builder
	b.WriteString("Content-Type: command/reply\nReply-Text: " + text + "\n")
	for _, h := range headers {
		b.WriteString(h + "\n")
	}
	c.text(b.String() + "\n")
}

func (c *client) response(body string) {
	if body == "" {
		body = "-ERR no reply\n"
	}
	c.text(fmt.Sprintf("Content-Type: api/response\nContent-Length: %d\n\n%s", len(body), body))
}

func (c *client) notice(body string) {
	c.text(fmt.Sprintf("Content-Type: text/disconnect-notice\nContent-Length: %d\n\n%s", len(body), body))
}

func (c *client) goodbye() {
	c.notice("Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n")
}

func (c *client) mute() {
	c.mu.Lock()
	c.muted = true
	c.mu.Unlock()
}

func (c *client) stats() ClientStats {
	c.countMu.Lock()
	defer c.countMu.Unlock()
	return c.count
}
