package esltest

// SetMode changes how new connections are treated.
func (s *Server) SetMode(m Mode) {
	s.mu.Lock()
	s.mode = m
	s.mu.Unlock()
}

// Cut closes every connection without a word.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Restart cuts every connection, forgets all channels, and gives what the server
// makes from now on another Core-UUID.
func (s *Server) Restart(coreUUID string) {
	s.mu.Lock()
	s.core = coreUUID
	s.mu.Unlock()
	s.channels.clear()
	s.Cut()
}

// Mute makes the server say nothing more on the connections it has: no event,
// no reply, no end.
func (s *Server) Mute() {
	for _, c := range s.subscribed() {
		c.mute()
	}
}

// Inject writes bytes as they are to every subscribed client: half a frame, or
// what is no frame.
func (s *Server) Inject(b []byte) {
	for _, c := range s.subscribed() {
		c.write(b)
		c.flush()
	}
}

// Disconnect sends the notice of a shutdown to every client and closes.
func (s *Server) Disconnect() {
	for _, c := range s.subscribed() {
		c.notice("The system is being shut down.\n")
		c.conn.Close()
	}
}
