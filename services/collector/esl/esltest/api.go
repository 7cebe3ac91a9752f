package esltest

import (
	"fmt"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/event"
)

// api runs an api command and returns its output.
func (s *Server) api(line string) string {
	name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
	args = strings.TrimSpace(args)
	words := strings.Fields(args)
	switch {
	case name == "status":
		up, started, _, _ := s.channels.counts()
		return fmt.Sprintf("UP 0 years, 0 days, 0 hours, 0 minutes, 0 seconds, 0 milliseconds, 0 microseconds\n"+
			"FreeSWITCH (Version 1.11.3-dev 64bit, simulated) is ready\n%d session(s) since startup\n%d session(s) - peak %d, last 5min %d\n", started, up, up, up)
	case name == "show" && strings.HasPrefix(args, "channels"):
		if args == "channels as json" {
			return s.channels.show()
		}
		return "-ERR this simulated FreeSWITCH shows channels as json only\n"
	case name == "uuid_dump" && len(words) == 2 && words[1] == "json":
		return s.channels.dump(words[0])
	case name == "uuid_dump":
		return "-USAGE: <uuid> [format]\n"
	case name == "global_getvar" && args == "core_uuid":
		return s.coreUUID()
	}
	return fmt.Sprintf("-ERR %s Command not found!\n", name)
}

// header is the beginning of an event that the server makes itself.
func (s *Server) header(name string) string {
	_, _, sequence, nowUS := s.channels.counts()
	return fmt.Sprintf("Event-Name: %s\nCore-UUID: %s\nFreeSWITCH-Hostname: simulated\nFreeSWITCH-Switchname: simulated\n"+
		"Event-Date-Timestamp: %d\nEvent-Sequence: %d\n", name, s.coreUUID(), nowUS, sequence)
}

// beat sends HEARTBEAT (switch_core.c, send_heartbeat).
func (s *Server) beat() {
	began := time.Now()
	tick := time.NewTicker(s.cfg.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-s.end:
			return
		case <-tick.C:
			up, started, _, _ := s.channels.counts()
			s.Send(fmt.Appendf(nil, "%sEvent-Info: System%%20Ready\nUptime-msec: %d\nSession-Count: %d\nMax-Sessions: 1000\n"+
				"Session-Since-Startup: %d\nIdle-CPU: 90.000000\n\n", s.header(event.Heartbeat), time.Since(began).Milliseconds(), up, started))
		}
	}
}

func encode(s string) string { return event.Encode(s) }
