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

// member is a process and, of a service, its ways to the NATS servers.
type member struct {
	*fleet.Process
	wires []*proxy
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
	var wires []*proxy
	var urls []string
	for _, addr := range c.nats.Addrs() {
		wire, err := newProxy(addr)
		if err != nil {
			return err
		}
		wires, urls = append(wires, wire), append(urls, "nats://"+wire.addr())
	}
	c.proxies = append(c.proxies, wires...)
	instances, err := c.instances()
	if err != nil {
		return err
	}
	p, err := fleet.Start(c.cfg.Bin, c.dir, name+"-"+strconv.Itoa(number+1), name, nil, []string{
		"FSAGENT_NATS_URL=" + strings.Join(urls, ","),
		"FSAGENT_NATS_REPLICAS=" + strconv.Itoa(c.cfg.Servers),
		"FSAGENT_HTTP_PORT=0",
		"FSAGENT_FREESWITCH_INSTANCES=" + instances,
		"FSAGENT_CALCULATOR_LEASE=" + c.cfg.Lease.String(),
		"FSAGENT_OTEL_ENDPOINT=" + c.sink.Addr(), "FSAGENT_OTEL_INSECURE=true", "FSAGENT_OTEL_ACK_WAIT=5s", "FSAGENT_OTEL_MAX_FUTURE=8760h",
	})
	if err != nil {
		return err
	}
	c.groups[name] = append(c.groups[name], member{p, wires})
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
