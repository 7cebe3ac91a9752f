package esltest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/event"
)

// version is what the simulated FreeSWITCH calls itself; it follows the one that
// was recorded.
const version = "1.11.3-dev"

// api runs an api command and returns its output (mod_commands.c; mod_sofia.c).
func (s *Server) api(line string) string {
	name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
	args = strings.TrimSpace(args)
	s.mu.Lock()
	s.commands[name]++
	s.mu.Unlock()
	switch name {
	case "status":
		up, started, _, _ := s.channels.counts()
		return fmt.Sprintf("UP 0 years, 0 days, 0 hours, 0 minutes, 0 seconds, 0 milliseconds, 0 microseconds\n"+
			"FreeSWITCH (Version "+version+" 64bit, simulated) is ready\n%d session(s) since startup\n%d session(s) - peak %d, last 5min %d\n", started, up, up, up)
	case "version":
		return "FreeSWITCH Version " + version + "~64bit (simulated)\n"
	case "show":
		if args == "channels as json" {
			return s.channels.show()
		}
		return "-ERR this simulated FreeSWITCH shows channels as json only\n"
	case "uuid_dump":
		if words := strings.Fields(args); len(words) == 2 && words[1] == "json" {
			return s.channels.dump(words[0])
		}
		return "-USAGE: <uuid> [format]\n"
	case "global_getvar":
		if args == "core_uuid" {
			return s.coreUUID()
		}
		return s.cfg.Globals[args]
	case "strepoch":
		return strconv.FormatInt(s.now()/1e6, 10)
	case "strmicroepoch":
		return strconv.FormatInt(s.now(), 10)
	case "sofia":
		return s.sofia(args)
	case "xml_locate":
		return s.configuration(args)
	}
	return fmt.Sprintf("-ERR %s Command not found!\n", name)
}

// now is the server's clock: that of what is played, or the machine's.
func (s *Server) now() int64 {
	_, _, _, us := s.channels.counts()
	return us + s.cfg.ClockOffset.Microseconds()
}

// sofia is "sofia status": the SIP profiles that run.
func (s *Server) sofia(args string) string {
	if args != "status" {
		return "-ERR this simulated FreeSWITCH has sofia status only\n"
	}
	const line = "=================================================================================================\n"
	var b strings.Builder
	fmt.Fprintf(&b, "%25s\t%s\t  %40s\t%s\n%s", "Name", "   Type", "Data", "State", line)
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Profiles)) {
		fmt.Fprintf(&b, "%25s\t%s\t  %40s\t%s (%d)\n", name, "profile", "sip:mod_sofia@127.0.0.1:5060", "RUNNING", 0)
	}
	fmt.Fprintf(&b, "%s%d profile%s %d aliases\n\n", line, len(s.cfg.Profiles), "s", 0)
	return b.String()
}

// configuration is "xml_locate configuration configuration name <file>".
func (s *Server) configuration(args string) string {
	if args == "configuration configuration name switch.conf" {
		return fmt.Sprintf("<configuration name=\"switch.conf\">\n  <settings>\n    <param name=\"event-heartbeat-interval\" value=\"%d\"></param>\n  </settings>\n</configuration>\n",
			int(max(s.cfg.Heartbeat, time.Second).Seconds()))
	}
	if args != "configuration configuration name sofia.conf" {
		return "-Error can't find configuration\n"
	}
	var b strings.Builder
	b.WriteString("<configuration name=\"sofia.conf\" description=\"sofia Endpoint\">\n  <profiles>\n")
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Profiles)) {
		fmt.Fprintf(&b, "    <profile name=%q>\n      <settings>\n", name)
		params := s.cfg.Profiles[name]
		for _, p := range slices.Sorted(maps.Keys(params)) {
			fmt.Fprintf(&b, "        <param name=%q value=%q></param>\n", p, params[p])
		}
		b.WriteString("      </settings>\n    </profile>\n")
	}
	b.WriteString("  </profiles>\n</configuration>\n")
	return b.String()
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
