// Package chaos is a fault campaign: the services as real processes, simulated
// FreeSWITCH servers as source, an OTLP receiver as sink, and faults in a random
// order that a seed repeats. In the end every sample that the events make must
// be in the stream exactly once, every point must have arrived, and a replay must
// make the same samples once more, byte for byte.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/fleet"
)

// Config of a campaign.
type Config struct {
	// Seed of the order of faults; the same seed makes the same order.
	Seed uint64
	// Duration of the calls, and so of the faults.
	Duration time.Duration
	// Instances of FreeSWITCH, and how many times each plays its calls at once.
	Instances, Copies int
	// Servers of NATS: 1, or 3 as a cluster with every stream on all of them.
	Servers int
	// Replicas of each service.
	Collectors, Calculators, Exporters int
	// Lease of the calculators.
	Lease time.Duration
	// Bin is a directory with the programs; empty builds them.
	Bin string
}

// DefaultConfig is a campaign of two minutes.
func DefaultConfig() Config {
	return Config{Seed: 1, Duration: 2 * time.Minute, Instances: 2, Copies: 8, Servers: 1, Collectors: 2, Calculators: 3, Exporters: 2, Lease: time.Second}
}

// ErrDifference is returned when samples or points are missing, too many or
// wrong.
var ErrDifference = errors.New("the campaign failed")

// calls is the recording that is played.
const calls = "05-load-80-calls"

// campaign is one run.
type campaign struct {
	cfg     Config
	out     io.Writer
	dir     string
	rng     *rand.Rand
	sink    *otlptest.Receiver
	servers []*esltest.Server
	nats    *fleet.NATS
	proxies []*proxy // one from each service process to each NATS server
	groups  map[string][]member
	start   time.Time      // of the first event: expected and real events have the same times
	next    []fault        // of this round
	counts  map[string]int // faults done
	steady  time.Time      // when every collector has published what it held
}

// Run runs a campaign. It returns an error wrapping ErrDifference with the first
// difference if what came out is not what the events make.
func Run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	c := &campaign{cfg: cfg, out: out, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), groups: map[string][]member{}, counts: map[string]int{}, start: time.Now().Truncate(time.Second)}
	if c.dir, err = os.MkdirTemp("", "fsagent-chaos-"); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	defer func() {
		c.close()
		if err != nil {
			fmt.Fprintf(out, "seed %d; data and logs are in %s\n", cfg.Seed, c.dir)
			return
		}
		err = os.RemoveAll(c.dir)
	}()
	if err := c.raise(ctx); err != nil {
		return err
	}
	want, err := c.expect(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d: %v, %d instances, %d events, %d samples expected\n", cfg.Seed, cfg.Duration, cfg.Instances, want.events, len(want.samples))
	if err := c.perform(ctx); err != nil {
		return err
	}
	if len(c.counts) < len(c.faults()) && cfg.Duration >= DefaultConfig().Duration {
		return fmt.Errorf("chaos: the calls were over before every fault had come; there were %s", c.faultCounts())
	}
	return c.verify(ctx, want)
}

// raise starts everything.
func (c *campaign) raise(ctx context.Context) error {
	if c.cfg.Bin == "" {
		c.cfg.Bin = filepath.Join(c.dir, "bin")
		if err := fleet.Build(ctx, c.cfg.Bin); err != nil {
			return err
		}
	}
	var err error
	if c.sink, err = otlptest.Start("127.0.0.1:0"); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	for i := range c.cfg.Instances {
		s, err := esltest.Start(freeswitch(i))
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
	}
	// Clients that were told of the servers would find the ways around the proxies.
	if c.nats, err = fleet.StartNATS(c.cfg.Bin, c.dir, c.cfg.Servers, "--no_advertise"); err != nil {
		return err
	}
	for _, p := range c.nats.Servers {
		c.groups["nats"] = append(c.groups["nats"], member{Process: p})
	}
	for name, n := range map[string]int{"collector": c.cfg.Collectors, "calculator": c.cfg.Calculators, "exporter": c.cfg.Exporters} {
		for i := range n {
			if err := c.startService(name, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// playback of one instance: the same for the campaign and for what is expected.
func (c *campaign) playback(instance int) (esltest.Playback, error) {
	r, err := recording.Load(calls)
	if err != nil {
		return esltest.Playback{}, err
	}
	length := r.Frames[len(r.Frames)-1].At.Sub(r.Frames[0].At)
	return esltest.Playback{
		Recordings: []*recording.Recording{r}, Copies: c.cfg.Copies, Stagger: 700 * time.Millisecond, OneLife: true,
		Start: c.start.Add(time.Duration(instance) * time.Millisecond),
		Speed: length.Seconds() / c.cfg.Duration.Seconds(),
	}, nil
}

// freeswitch is one simulated server; its Core-UUID makes event ids unique.
func freeswitch(instance int) esltest.Config {
	return esltest.Config{CoreUUID: fmt.Sprintf("f5a9e570-0000-4000-8000-%012d", instance+1)}
}

// perform plays the calls and does one fault after the other until they are
// through; then everything is healed.
func (c *campaign) perform(ctx context.Context) error {
	playing := make(chan error, c.cfg.Instances)
	for i, s := range c.servers {
		p, err := c.playback(i)
		if err != nil {
			return err
		}
		p.Clients = c.cfg.Collectors
		go func() {
			_, err := s.Play(ctx, p)
			playing <- err
		}()
	}
	c.unsettle()
	for left := c.cfg.Instances; left > 0; {
		select {
		case err := <-playing:
			if left--; err != nil {
				return err
			}
		case <-time.After(time.Duration(500+c.rng.IntN(3000)) * time.Millisecond):
			if err := c.disturb(ctx); err != nil {
				return err
			}
		}
	}
	for _, p := range c.proxies {
		p.heal()
	}
	c.sink.Heal()
	return c.alive()
}

func (c *campaign) close() {
	for _, group := range c.groups {
		for _, p := range group {
			p.Kill()
		}
	}
	for _, p := range c.proxies {
		p.close()
	}
	for _, s := range c.servers {
		_ = s.Close() // nothing depends on it any more
	}
	if c.sink != nil {
		c.sink.Close()
	}
}
