// Package esltest is a FreeSWITCH event socket without the FreeSWITCH: a server
// that speaks the protocol of mod_event_socket over TCP and plays recordings of
// a real one, at their pace, faster, or many times over as a load generator. It
// can also misbehave in the ways a switch or a network does.
//
// Tests use it, and so do the commands demo and simulate. What is played is the
// recorded text of each event; what the server makes itself (replies, API output,
// heartbeats when asked for) follows FreeSWITCH's source.
package esltest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/event"
)

// DefaultPassword is FreeSWITCH's.
const DefaultPassword = "ClueCon"

// DefaultCoreUUID is the Core-UUID of what the server makes itself, and of
// rewritten playbacks.
const DefaultCoreUUID = "f5a9e570-0000-4000-8000-000000000001"

// Config of a server. The zero Config listens on a free port of the loopback
// interface and takes DefaultPassword.
type Config struct {
	// Address to listen on, host:port.
	Address string
	// Password for the command auth.
	Password string
	// Users for the command userauth, by user@domain.
	Users map[string]User
	// CoreUUID of heartbeats, of uuid_dump where nothing was played, and of
	// rewritten playbacks.
	CoreUUID string
	// Heartbeat is the interval of HEARTBEAT events; 0 sends none but those of
	// the recordings.
	Heartbeat time.Duration
	// Globals are global variables, as global_getvar gives them.
	Globals map[string]string
	// Profiles are the SIP profiles that run: the parameters of each by name, as
	// sofia.conf has them.
	Profiles map[string]map[string]string
	// ClockOffset is how far the server's clock is ahead while nothing is played.
	ClockOffset time.Duration
}

// User is one that may use userauth.
type User struct {
	Password string
	// Events that the user may subscribe to; nil is all.
	Events []string
	// API commands that the user may run; nil is all.
	API []string
}

// Mode is how the server treats new connections.
type Mode int

// Modes of Server.SetMode.
const (
	Normal Mode = iota
	// Silent accepts and never says anything.
	Silent
	// Rejecting sends the rude rejection of an access list and closes.
	Rejecting
	// RefusingAuth answers every auth and userauth with -ERR invalid.
	RefusingAuth
	// Deaf greets and authenticates, and answers nothing after that.
	Deaf
	// Foreign speaks another protocol.
	Foreign
)

// Server is a simulated FreeSWITCH. Its methods may be called by any goroutine.
type Server struct {
	cfg Config
	ln  net.Listener
	wg  sync.WaitGroup
	end chan struct{}

	mu       sync.Mutex
	mode     Mode
	core     string
	conns    map[net.Conn]struct{}
	clients  []*client
	past     []ClientStats // of connections that are gone
	accepted int
	played   uint64
	commands map[string]int // api commands run
	changed  chan struct{}  // closed and renewed when clients change
	closed   bool

	channels channels
}

// Start listens and serves until Close.
func Start(cfg Config) (*Server, error) {
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("simulated FreeSWITCH: %w", err)
	}
	return Serve(ln, cfg), nil
}

// Serve is Start with a listener of one's own, which Close closes.
func Serve(ln net.Listener, cfg Config) *Server {
	if cfg.Password == "" {
		cfg.Password = DefaultPassword
	}
	if cfg.CoreUUID == "" {
		cfg.CoreUUID = DefaultCoreUUID
	}
	s := &Server{
		cfg: cfg, ln: ln, core: cfg.CoreUUID,
		end:     make(chan struct{}),
		conns:   make(map[net.Conn]struct{}),
		changed: make(chan struct{}),

		commands: make(map[string]int),
	}
	s.wg.Go(s.accept)
	if cfg.Heartbeat > 0 {
		s.wg.Go(s.beat)
	}
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() *net.TCPAddr { return s.ln.Addr().(*net.TCPAddr) }

// Close ends the server and all connections and waits for its goroutines. A Play
// that runs returns ErrClosed.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.end)
	s.mu.Unlock()
	err := s.ln.Close()
	s.Cut()
	s.wg.Wait()
	return err
}

// Send delivers one event in plain format to the clients that subscribed to it.
func (s *Server) Send(raw []byte) {
	s.deliver(raw)
	s.flush()
}

// WaitForClient waits until n clients are subscribed.
func (s *Server) WaitForClient(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		have, changed := len(s.clients), s.changed
		s.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-s.end:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Server) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepted++
		mode := s.mode
		s.conns[conn] = struct{}{}
		if s.closed {
			conn.Close()
		}
		s.mu.Unlock()
		s.wg.Go(func() {
			newClient(s, conn, mode).serve()
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// deliver notes an event and gives it to every client that wants it. It waits for
// clients that do not read.
func (s *Server) deliver(raw []byte) {
	id, err := event.Scan(raw)
	ends := err == nil && string(id.Name) == event.ChannelDestroy
	if err == nil && !ends {
		s.channels.note(id, raw)
	}
	s.mu.Lock()
	s.played++
	if err == nil && string(id.CoreUUID) != s.core {
		s.core = string(id.CoreUUID) // what is played is what this FreeSWITCH is
	}
	clients := s.clients
	s.mu.Unlock()
	for _, c := range clients {
		c.event(id.Name, raw)
	}
	if ends { // the table is behind the events, so an end is never missing in both
		s.channels.note(id, raw)
	}
}

func (s *Server) flush() {
	for _, c := range s.subscribed() {
		c.flush()
	}
}

func (s *Server) subscribed() []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

// join and leave replace the list, so that who walks it needs no lock.
func (s *Server) join(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.clients, c) {
		s.clients = append(slices.Clone(s.clients), c)
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.clients, c); i >= 0 {
		s.clients = slices.Delete(slices.Clone(s.clients), i, i+1)
		st := c.stats()
		st.Gone = true
		s.past = append(s.past, st)
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func (s *Server) coreUUID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core
}
