package chaos

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/fsagent/fleet"
)

// member is a service process and its way to NATS.
type member struct {
	*fleet.Process
	wire *proxy // nil in a cluster
}

// alive fails if a process has ended by itself.
func (c *campaign) alive() error {
	for _, group := range c.groups {
		for _, p := range group {
			if p.Died() {
				return fmt.Errorf("%w: %s ended by itself", ErrDifference, p.Name)
			}
		}
	}
	return nil
}

func (c *campaign) startService(name string, number int) error {
	// The way to a single server leads over a proxy that can be cut. In a
	// cluster clients find the other servers, so there is none.
	url := c.nats.URL()
	var wire *proxy
	if c.cfg.Servers == 1 {
		var err error
		if wire, err = newProxy(c.nats.Addrs()[0]); err != nil {
			return err
		}
		c.proxies = append(c.proxies, wire)
		url = "nats://" + wire.addr()
	}
	instances, err := c.instances()
	if err != nil {
		return err
	}
	p, err := fleet.Start(c.cfg.Bin, c.dir, name+"-"+strconv.Itoa(number+1), name, nil, []string{
		"FSAGENT_NATS_URL=" + url,
		"FSAGENT_NATS_REPLICAS=" + strconv.Itoa(c.cfg.Servers),
		"FSAGENT_HTTP_PORT=0",
		"FSAGENT_FREESWITCH_INSTANCES=" + instances,
		"FSAGENT_CALCULATOR_LEASE=" + c.cfg.Lease.String(),
		"FSAGENT_OTEL_ENDPOINT=" + c.sink.Addr(), "FSAGENT_OTEL_INSECURE=true", "FSAGENT_OTEL_ACK_WAIT=5s", "FSAGENT_OTEL_MAX_FUTURE=8760h",
	})
	if err != nil {
		return err
	}
	c.groups[name] = append(c.groups[name], member{p, wire})
	return nil
}

func instanceName(i int) string { return "fs-" + strconv.Itoa(i+1) }

func (c *campaign) instances() (string, error) {
	type instance struct {
		Name     string `json:"name"`
		Host     string `json:"host"`
		Port     int    `json:"port"`
		Password string `json:"password"`
	}
	var list []instance
	for i, s := range c.servers {
		list = append(list, instance{instanceName(i), "127.0.0.1", s.Addr().Port, esltest.DefaultPassword})
	}
	var b strings.Builder
	if err := json.NewEncoder(&b).Encode(list); err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	return b.String(), new(collector.Instances).UnmarshalText([]byte(b.String()))
}
