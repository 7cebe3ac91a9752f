package collector

import "time"

// HealthReport is the answer of /health.
type HealthReport struct {
	// Status is "ok" when NATS and every FreeSWITCH are connected and events are
	// taken, "degraded" when something is missing, "down" when no FreeSWITCH is
	// connected.
	Status      string                      `json:"status"`
	Connections map[string]ConnectionHealth `json:"connections"`
}

// ConnectionHealth is the state of one FreeSWITCH.
type ConnectionHealth struct {
	Connected bool `json:"connected"`
	// LastEvent is the Event-Date-Timestamp of the last event, RFC 3339; empty
	// before the first.
	LastEvent string `json:"last_event"`
	LastError string `json:"last_error"`
}

// Health returns a HealthReport.
func (c *Collector) Health() any {
	h := HealthReport{Status: "ok", Connections: make(map[string]ConnectionHealth, len(c.switches))}
	up := 0
	for _, s := range c.switches {
		st := s.current()
		ch := ConnectionHealth{Connected: st.connected, LastError: st.err}
		if us := s.lastUS.Load(); us != 0 {
			ch.LastEvent = time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
		}
		if st.connected {
			up++
		}
		h.Connections[s.Name] = ch
	}
	switch {
	case up == 0:
		h.Status = "down"
	case up < len(c.switches) || !c.natsUp.Load() || c.stalled() != nil:
		h.Status = "degraded"
	}
	return h
}

// Stats are counters since the collector was made, over all servers.
type Stats struct {
	EventsRead uint64
	// Published events were acknowledged by the stream; of these Duplicates were
	// in it already.
	Published, Duplicates uint64
	// Made are the acknowledged events that no FreeSWITCH sent by itself:
	// FSAGENT_SYNC, FSAGENT_GAP and CHANNEL_DATA of snapshots.
	Made          uint64
	Dropped       map[string]uint64 // by reason
	Rejected      map[string]uint64 // by reason: events, and frames that ended a connection
	BufferedBytes int64
}

// Stats may be called at any time.
func (c *Collector) Stats() Stats {
	st := Stats{Dropped: make(map[string]uint64), Rejected: make(map[string]uint64)}
	for _, s := range c.switches {
		st.EventsRead += s.met.readCount.Load()
		st.Published += s.met.publishedCount.Load()
		st.Made += s.met.madeCount.Load()
		st.Duplicates += s.met.duplicateCount.Load()
		for r := range dropReasons {
			if n := s.met.droppedCount[r].Load(); n > 0 {
				st.Dropped[r.String()] += n
			}
		}
		s.met.mu.Lock()
		for reason, n := range s.met.rejectedCount {
			st.Rejected[reason] += n
		}
		s.met.mu.Unlock()
		bytes, _, _ := s.buf.size()
		st.BufferedBytes += bytes
	}
	return st
}
