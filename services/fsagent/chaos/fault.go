package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc/codes"
)

// fault is one kind of disturbance.
type fault struct {
	name string
	do   func(*campaign, context.Context) (what string, err error)
}

var faults = []fault{
	{"collector cut", (*campaign).cutCollector},
	{"calculator kill", (*campaign).killCalculator},
	{"calculator pause", (*campaign).pauseCalculator},
	{"calculator cut", (*campaign).cutCalculator},
	{"calculator stop", (*campaign).stopCalculator},
	{"collector kill", (*campaign).killCollector},
	{"exporter kill", (*campaign).killExporter},
	{"exporter cut", (*campaign).cutExporter},
	{"nats kill", (*campaign).killNATS},
	{"nats pause", (*campaign).pauseNATS},
	{"sink fault", (*campaign).failSink},
}

// ofCluster are faults that one server cannot have.
var ofCluster = []fault{
	{"leader change", (*campaign).changeLeaders},
}

func (c *campaign) faults() []fault {
	if c.cfg.Servers > 1 {
		return slices.Concat(faults, ofCluster)
	}
	return slices.Clone(faults)
}

// disturb does one fault, and returns when it is over. Every fault comes once
// before any comes again; the seed makes the order.
func (c *campaign) disturb(ctx context.Context) error {
	if len(c.next) == 0 {
		c.next = c.faults()
		c.rng.Shuffle(len(c.next), func(i, j int) { c.next[i], c.next[j] = c.next[j], c.next[i] })
	}
	f := c.next[0]
	c.next = c.next[1:]
	what, err := f.do(c, ctx)
	if err != nil {
		return err
	}
	c.counts[f.name]++
	fmt.Fprintf(c.out, "%s  %s\n", time.Now().Format("15:04:05.000"), what)
	return c.alive()
}

func (c *campaign) pick(group string) member {
	g := c.groups[group]
	return g[c.rng.IntN(len(g))]
}

func (c *campaign) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rng.Int64N(int64(most-least)))
}

// sleep returns early when the campaign ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (c *campaign) restart(ctx context.Context, p member, least, most time.Duration) (string, error) {
	away := c.between(least, most)
	p.Kill()
	sleep(ctx, away)
	return fmt.Sprintf("%s killed, away for %v", p.Name, away.Round(time.Millisecond)), p.Restart()
}

func (c *campaign) killCalculator(ctx context.Context) (string, error) {
	return c.restart(ctx, c.pick("calculator"), 0, 3*c.cfg.Lease)
}

func (c *campaign) killExporter(ctx context.Context) (string, error) {
	return c.restart(ctx, c.pick("exporter"), 0, 2*time.Second)
}

// clusterSettling is how long a server needs to be a full member again.
const clusterSettling = 8 * time.Second

// settling is how long a collector needs to be subscribed again, and to have
// published what it held while NATS was away: until then the other one is the
// only witness.
const settling = 4 * time.Second

// unsettle notes that a collector holds what is not published, or is not there.
func (c *campaign) unsettle() { c.steady = time.Now().Add(settling) }

// settle waits until every collector can do without the others.
func (c *campaign) settle(ctx context.Context) { sleep(ctx, time.Until(c.steady)) }

func (c *campaign) killCollector(ctx context.Context) (string, error) {
	defer c.unsettle()
	p := c.pick("collector")
	c.settle(ctx)
	return c.restart(ctx, p, 0, 2*time.Second)
}

func (c *campaign) cutCollector(ctx context.Context) (string, error) {
	defer c.unsettle()
	return c.cutOff(ctx, "collector")
}

func (c *campaign) pauseCalculator(ctx context.Context) (string, error) {
	p := c.pick("calculator")
	away := c.cfg.Lease + c.between(500*time.Millisecond, 3*time.Second)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return "", err
	}
	sleep(ctx, away)
	return fmt.Sprintf("%s paused for %v", p.Name, away.Round(time.Millisecond)), p.Signal(syscall.SIGCONT)
}

func (c *campaign) stopCalculator(ctx context.Context) (string, error) {
	p := c.pick("calculator")
	began := time.Now()
	if err := p.Stop(); err != nil {
		return "", err
	}
	took := time.Since(began)
	sleep(ctx, c.between(0, time.Second))
	return fmt.Sprintf("%s stopped in order, in %v", p.Name, took.Round(time.Millisecond)), p.Restart()
}

func (c *campaign) cutCalculator(ctx context.Context) (string, error) {
	return c.cutOff(ctx, "calculator")
}

func (c *campaign) cutExporter(ctx context.Context) (string, error) { return c.cutOff(ctx, "exporter") }

func (c *campaign) cutOff(ctx context.Context, group string) (string, error) {
	p := c.pick(group)
	away := c.between(200*time.Millisecond, 3*c.cfg.Lease)
	for _, w := range p.wires {
		w.cut()
	}
	sleep(ctx, away)
	for _, w := range p.wires {
		w.heal()
	}
	return fmt.Sprintf("%s cut off from NATS for %v", p.Name, away.Round(time.Millisecond)), nil
}

func (c *campaign) killNATS(ctx context.Context) (string, error) {
	defer c.unsettle()
	what, err := c.restart(ctx, c.pick("nats"), 0, 2*time.Second)
	if err != nil {
		return "", err
	}
	c.rejoin(ctx)
	return what, c.nats.Wait()
}

func (c *campaign) pauseNATS(ctx context.Context) (string, error) {
	defer c.unsettle()
	p := c.pick("nats")
	away := c.between(500*time.Millisecond, 6*time.Second)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return "", err
	}
	sleep(ctx, away)
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return "", err
	}
	c.rejoin(ctx)
	return fmt.Sprintf("%s paused for %v", p.Name, away.Round(time.Millisecond)), nil
}

// rejoin gives a server that was away the time to be a full member again: of
// three one may be away at a time.
func (c *campaign) rejoin(ctx context.Context) {
	if c.cfg.Servers > 1 {
		sleep(ctx, clusterSettling)
	}
}

// changeLeaders has the leader of every stream, and of the exporters' consumer,
// step down.
func (c *campaign) changeLeaders(ctx context.Context) (string, error) {
	defer c.unsettle()
	nc, err := nats.Connect(c.nats.URL())
	if err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	defer nc.Close()
	for _, subject := range []string{
		"STREAM.LEADER.STEPDOWN." + stream.Events,
		"STREAM.LEADER.STEPDOWN." + stream.Samples,
		"STREAM.LEADER.STEPDOWN." + stream.StateStream,
		"CONSUMER.LEADER.STEPDOWN." + stream.Samples + "." + stream.ExportConsumer,
	} {
		// There may be none just now.
		for try := 1; ; try++ {
			err := stepDown(nc, subject)
			if err == nil {
				break
			}
			if try == 10 || ctx.Err() != nil {
				return "", fmt.Errorf("chaos: %s: %w", subject, err)
			}
			sleep(ctx, time.Second)
		}
	}
	return "the leaders of all streams stepped down", nil
}

func stepDown(nc *nats.Conn, subject string) error {
	reply, err := nc.Request(jetstream.DefaultAPIPrefix+subject, nil, 5*time.Second)
	if err != nil {
		return err
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

func (c *campaign) failSink(ctx context.Context) (string, error) {
	kinds := []struct {
		name  string
		fault otlptest.Fault
	}{
		{"refuses", otlptest.Refuse(codes.Unavailable, "chaos")},
		{"stores and then fails", otlptest.StoreThenFail(codes.Unavailable)},
		{"is silent", otlptest.Hang()},
	}
	k := kinds[c.rng.IntN(len(kinds))]
	away := c.between(200*time.Millisecond, 3*time.Second)
	c.sink.Always(k.fault)
	sleep(ctx, away)
	c.sink.Heal()
	return fmt.Sprintf("OTLP endpoint %s for %v", k.name, away.Round(time.Millisecond)), nil
}
