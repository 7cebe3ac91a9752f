package collector_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/fsagent/fsagent/services/collector"
)

func TestConfigFromEnvironment(t *testing.T) {
	t.Parallel()
	cfg := collector.DefaultConfig()
	err := env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{
		"FSAGENT_FREESWITCH_INSTANCES": `[{"name":"a","host":"10.0.0.1","port":8022,"password":"x"},{"name":"b","host":"fs.example","password_file":"/run/x","user":"u","domain":"d"}]`,
		"FSAGENT_EVENTS_RTCP":          "false",
		"FSAGENT_EVENTS_VARIABLES":     "foo,bar",
		"FSAGENT_ESL_IDLE_TIMEOUT":     "45s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	want := collector.Instances{
		{Name: "a", Host: "10.0.0.1", Port: 8022, Password: "x"},
		{Name: "b", Host: "fs.example", PasswordFile: "/run/x", User: "u", Domain: "d"},
	}
	if len(cfg.Instances) != 2 || cfg.Instances[0] != want[0] || cfg.Instances[1] != want[1] {
		t.Errorf("instances: got %+v", cfg.Instances)
	}
	if cfg.Events.RTCP || !cfg.Events.QoS || cfg.Events.Variables != "foo,bar" || cfg.ESL.IdleTimeout != 45*time.Second {
		t.Errorf("got %+v %+v", cfg.Events, cfg.ESL)
	}
	shown, err := json.Marshal(cfg)
	if err != nil || strings.Contains(string(shown), `"x"`) || strings.Contains(fmt.Sprintf("%+v", cfg), "Password:x") {
		t.Errorf("a password is shown: %s, %v", shown, err)
	}
}

func TestInstancesRefuse(t *testing.T) {
	t.Parallel()
	for _, in := range []string{``, `{}`, `[{"name":1}]`, `[{"nmae":"a"}]`, `[] []`, `[{"name":"a"`} {
		var l collector.Instances
		if err := l.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%s: got %+v, want an error", in, l)
		}
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	t.Parallel()
	cfg := collector.DefaultConfig()
	cfg.Instances = collector.Instances{
		{Name: "a.b", Host: "h", Password: "x"},
		{Name: "ok", Host: "", Port: 70000, Password: "x", PasswordFile: "y"},
		{Name: "ok", Host: "h"},
		{Name: "inject", Host: "h", Password: "x\n\napi shutdown"},
		{Name: "user", Host: "h", Password: "x", User: "u"},
		{Name: "domain", Host: "h", Password: "x", Domain: "d"},
	}
	cfg.Events.Variables = "switch_r_sdp"
	cfg.Events.BufferBytes = 1
	cfg.ESL.IdleTimeout = 0
	cfg.ESL.RetryMax = 1
	cfg.Publish.Window = 0
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, key := range []string{
		"freeswitch_instances[0].name", "freeswitch_instances[1].host", "freeswitch_instances[1].port",
		"freeswitch_instances[1].password", "freeswitch_instances[2].name", "freeswitch_instances[2].password",
		"freeswitch_instances[3].password", "freeswitch_instances[4].user", "freeswitch_instances[5].domain",
		"events.variables", "events.buffer_bytes", "esl.idle_timeout", "esl.retry_max", "publish.window",
	} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in:\n%v", key, err)
		}
	}
	if strings.Contains(err.Error(), "api shutdown") {
		t.Errorf("a password is shown:\n%v", err)
	}
	if err := collector.DefaultConfig().Validate(); err == nil || !strings.Contains(err.Error(), "freeswitch_instances") {
		t.Errorf("without servers: got %v", err)
	}
}
