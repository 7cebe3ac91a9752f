package esltest

import (
	"maps"
	"slices"
	"time"
)

// Stats are counts of a server.
type Stats struct {
	Accepted int            // connections
	Played   uint64         // events given to deliver, whoever wanted them
	Commands map[string]int // api commands by name
	Clients  []ClientStats
}

// ClientStats are counts of one connection that subscribed.
type ClientStats struct {
	Remote string
	Events uint64 // written
	Bytes  uint64
	// LongestBlock is how long one write to the client had to wait.
	LongestBlock time.Duration
	Gone         bool
}

// Stats may be called at any time. Connections that are gone come first.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Accepted: s.accepted, Played: s.played, Commands: maps.Clone(s.commands), Clients: slices.Clone(s.past)}
	for _, c := range s.clients {
		st.Clients = append(st.Clients, c.stats())
	}
	return st
}
