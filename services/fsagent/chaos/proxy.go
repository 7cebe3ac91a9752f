package chaos

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// proxy is the network between one service and NATS. Cut, connections hang as
// they do when a cable is pulled: nothing passes, and nobody is told.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	heals chan struct{} // closed while the wire is whole
	conns map[net.Conn]struct{}
	done  bool
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	p := &proxy{listener: l, target: target, heals: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(p.heals)
	go p.accept()
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(in)
	}
}

func (p *proxy) serve(in net.Conn) {
	defer p.forget(in)
	if !p.keep(in) || !p.pass() {
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.forget(out)
	if !p.keep(out) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			p.copy(way[0], way[1])
			in.Close()
			out.Close()
		})
	}
	both.Wait()
}

func (p *proxy) copy(from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				return
			}
			p.pass() // the end, too, is told only when the wire is whole
			return
		}
	}
}

// pass waits while the wire is cut; false means that the proxy is closed.
func (p *proxy) pass() bool {
	for {
		p.mu.Lock()
		heals, done := p.heals, p.done
		p.mu.Unlock()
		if done {
			return false
		}
		select {
		case <-heals:
			return true
		default:
			<-heals
		}
	}
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return !p.done
}

func (p *proxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// cut stops the wire until heal.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.heals:
		p.heals = make(chan struct{})
	default:
	}
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.heals:
	default:
		close(p.heals)
	}
}

func (p *proxy) close() {
	p.mu.Lock()
	p.done = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.heal()
	p.listener.Close()
}
