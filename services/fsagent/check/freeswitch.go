package check

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/fsagent"
)

// aheadLimit is how far clocks may be apart without a word: times of calls come
// from FreeSWITCH's clock, and a restart of FreeSWITCH is what sets it right.
const aheadLimit = time.Second

// server is one FreeSWITCH under examination.
type server struct {
	cfg     fsagent.Config
	in      collector.Instance
	wait    time.Duration
	n       *notes
	api     *esl.Conn
	calls   int  // channels that are up
	counted bool // calls is known
}

func newSwitch(cfg fsagent.Config, in collector.Instance, o Options, n *notes) *server {
	return &server{cfg: cfg, in: in, wait: o.Wait, n: n}
}

// check goes from what everything needs to what one number needs, and stops
// where the rest cannot be asked.
func (s *server) check(ctx context.Context) {
	dial, err := s.in.ESL(s.cfg.Collector.ESL)
	if err == nil {
		s.api, err = esl.Dial(ctx, dial)
	}
	if err != nil {
		s.n.add("event socket", Failed, collector.Advice(err), "%v", err)
		return
	}
	defer s.api.Close()
	stop := context.AfterFunc(ctx, func() { s.api.Close() })
	defer stop()
	s.n.add("event socket", OK, "", "reachable at %s; the access list and the password are right", s.api.RemoteAddr())

	dial.Events = collector.Subscription(s.cfg.Collector.Events.RTCP)
	events, err := esl.Dial(ctx, dial)
	if err != nil {
		s.n.add("events", Failed, collector.Advice(err), "%v", err)
		return
	}
	defer events.Close()
	s.n.add("events", OK, "", "all %d kinds may be subscribed to", len(dial.Events))
	s.version()
	s.snapshot()
	s.clock()
	s.fireRTCP()
	s.profiles()
	s.arrivals(ctx, events)
}

// ask runs an api command. No output is no error.
func (s *server) ask(name, arguments string) (string, error) {
	out, err := s.api.API(name, arguments)
	if errors.Is(err, esl.ErrRefused) && strings.Contains(err.Error(), "-ERR no reply") {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

func (s *server) version() {
	v, err := s.ask("version", "")
	if err != nil {
		s.n.add("version", Unknown, allow("version", err), "cannot be read: %v", err)
		return
	}
	v, _, _ = strings.Cut(v, "\n")
	s.n.add("version", OK, "", "%s", v)
}

// snapshot tries what a collector asks after each connect.
func (s *server) snapshot() {
	const subject = "snapshot"
	out, err := s.ask("show", "channels as json")
	if err == nil {
		var list struct {
			Count int `json:"row_count"`
		}
		if err = json.Unmarshal([]byte(out), &list); err == nil {
			s.calls, s.counted = list.Count, true
		}
	}
	if err == nil {
		_, err = s.ask("global_getvar", "core_uuid")
	}
	if err == nil {
		if _, err = s.ask("uuid_dump", "00000000-0000-0000-0000-000000000000 json"); errors.Is(err, esl.ErrRefused) {
			err = nil // there is no such channel; asking is allowed
		}
	}
	if err != nil {
		s.n.add(subject, Missing, allow("show uuid_dump global_getvar strmicroepoch", err),
			"calls that are up when fsagent connects stay without a name, and calls that end while it is away stay open: %v", err)
		return
	}
	s.n.add(subject, OK, "", "%d channels are up; they can be listed and asked for", s.calls)
}

// clock compares FreeSWITCH's clock with ours, at the middle of the question.
func (s *server) clock() {
	const subject = "clock"
	began := time.Now()
	out, err := s.ask("strmicroepoch", "")
	took := time.Since(began)
	us, perr := strconv.ParseInt(out, 10, 64)
	switch {
	case err != nil:
		s.n.add(subject, Unknown, allow("strmicroepoch", err), "cannot be read: %v", err)
	case perr != nil:
		s.n.add(subject, Unknown, "", "strmicroepoch says %q", out)
	default:
		ahead := time.UnixMicro(us).Sub(began.Add(took / 2)).Round(time.Millisecond)
		switch {
		case ahead > s.cfg.OpenTelemetry.MaxFuture:
			s.n.add(subject, Failed, "set the clock, then run fsctl sync_clock", "%v ahead of this machine; samples more than %v ahead are parked", ahead, s.cfg.OpenTelemetry.MaxFuture)
		case ahead.Abs() > aheadLimit:
			s.n.add(subject, Missing, "set the clock of both machines; FreeSWITCH follows after fsctl sync_clock", "%v ahead of this machine; points have FreeSWITCH's time", ahead)
		default:
			s.n.add(subject, OK, "", "%v ahead of this machine", ahead)
		}
	}
}

// allow is advice for a user of the directory that may not use a command.
func allow(commands string, err error) string {
	if errors.Is(err, esl.ErrPermission) {
		return "allow " + commands + " in esl-allowed-api of the user"
	}
	return ""
}
