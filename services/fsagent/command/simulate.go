package command

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/fsagent/demo"
)

// simulation is what simulate is told.
type simulation struct {
	listen, password, names string
	instances               int
	playback                esltest.Playback // of each server, but for the demo
	acts                    []server
	forever, demo           bool
	ago                     time.Duration
}

// server is one that is simulated.
type server struct {
	playback esltest.Playback
	coreUUID string
}

func simulate(ctx context.Context, c call, args []string) error {
	var s simulation
	c.flags.StringVar(&s.listen, "listen", "127.0.0.1:8021", "`host:port` of the first server; further ones take the ports after it")
	c.flags.IntVar(&s.instances, "instances", 1, "`number` of servers")
	c.flags.StringVar(&s.password, "password", esltest.DefaultPassword, "event socket `password`")
	c.flags.StringVar(&s.names, "recordings", "02-bridged-pcmu", "`names` to play, separated by commas: "+strings.Join(recording.Names(), " "))
	c.flags.BoolVar(&s.demo, "demo", false, "be the servers of fsagent demo, one for each of its recordings, with new Core-UUIDs")
	c.flags.BoolVar(&s.playback.Together, "together", false, "play the recordings at once, not one after another")
	c.flags.Float64Var(&s.playback.Speed, "speed", 1, "`factor` to the recorded pace; 0 is as fast as the client reads")
	c.flags.IntVar(&s.playback.Copies, "copies", 1, "play everything this `number` of times at once, as different calls")
	c.flags.DurationVar(&s.ago, "ago", 0, "move the recorded times by whole seconds, so that the first event was this `long` ago; 0 keeps them")
	c.flags.BoolVar(&s.forever, "forever", false, "play again and again, as new calls, until interrupted")
	if err := c.parse(args); err != nil {
		return err
	}
	if s.instances < 1 || s.playback.Copies < 1 || s.playback.Speed < 0 {
		return c.mistake("--instances and --copies are at least 1, --speed at least 0")
	}
	if s.demo && (isSet(c.flags, "instances") || isSet(c.flags, "recordings")) {
		return c.mistake("--demo says itself which --instances there are and which --recordings they play")
	}
	s.playback.Clients = 1
	if s.forever {
		s.playback.Rounds = -1
	}
	if err := s.load(); err != nil {
		return c.mistake("%v", err)
	}
	host, port, err := net.SplitHostPort(s.listen)
	if err != nil {
		return c.mistake("--listen: %v", err)
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return c.mistake("--listen: port %q is not a number", port)
	}
	return s.run(ctx, c, host, first)
}

func isSet(flags *flag.FlagSet, name string) (set bool) {
	flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// load fills in what each server plays.
func (s *simulation) load() error {
	if s.demo {
		for _, act := range demo.Stage() {
			p := s.playback
			r, err := recording.Load(act.Recording)
			if err != nil {
				return err
			}
			p.Recordings, p.OneLife = []*recording.Recording{r}, true
			p.Start = s.moved(r)
			s.acts = append(s.acts, server{p, uuid()})
		}
		return nil
	}
	for name := range strings.SplitSeq(s.names, ",") {
		r, err := recording.Load(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		s.playback.Recordings = append(s.playback.Recordings, r)
	}
	if s.ago != 0 {
		s.playback.Start = s.moved(s.playback.Recordings[0])
	}
	for i := range s.instances {
		s.acts = append(s.acts, server{s.playback, fmt.Sprintf("f5a9e570-0000-4000-8000-%012d", i+1)})
	}
	return nil
}

// moved is the recorded time of the first event, moved by whole seconds to
// s.ago before now.
func (s *simulation) moved(r *recording.Recording) time.Time {
	recorded := r.Frames[0].At
	return recorded.Add(time.Since(recorded.Add(s.ago)).Truncate(time.Second))
}

// uuid is a random one: a FreeSWITCH that starts anew is another one.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s simulation) run(ctx context.Context, c call, host string, first int) error {
	errs := make([]error, len(s.acts))
	var wg sync.WaitGroup
	for i, act := range s.acts {
		server, err := esltest.Start(esltest.Config{
			Address: net.JoinHostPort(host, strconv.Itoa(first+i)), Password: s.password,
			CoreUUID:  act.coreUUID,
			Heartbeat: 20 * time.Second,
		})
		if err != nil {
			errs[i] = err
			break
		}
		fmt.Fprintf(c.stdout, "FreeSWITCH %d listens on %s and waits for a client\n", i+1, server.Addr())
		wg.Go(func() {
			errs[i] = s.play(ctx, c, server, act.playback, i+1)
			errs[i] = errors.Join(errs[i], server.Close())
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// play plays everything and then stays, as a FreeSWITCH without calls, until ctx
// ends.
func (s simulation) play(ctx context.Context, c call, server *esltest.Server, p esltest.Playback, number int) error {
	if !s.demo && (p.Copies > 1 || s.forever || s.instances > 1) {
		p.OneLife = true
		if s.ago == 0 {
			p.Start = time.Now()
		}
	}
	played, err := server.Play(ctx, p)
	if ctx.Err() == nil {
		if err != nil {
			return fmt.Errorf("FreeSWITCH %d: %w", number, err)
		}
		fmt.Fprintf(c.stdout, "FreeSWITCH %d has played %d events; ctrl-C ends\n", number, played)
		<-ctx.Done()
	}
	for _, client := range server.Stats().Clients {
		fmt.Fprintf(c.stdout, "FreeSWITCH %d sent %d events, %d bytes to %s; the longest write waited %v\n",
			number, client.Events, client.Bytes, client.Remote, client.LongestBlock)
	}
	return nil
}
