package command

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/services/calculator"
)

// changes are settings of the calculation that a replay has otherwise than the
// live services.
type changes struct {
	model, plc, correlation string
	badLoss, badMOS         float64
	badJitter               time.Duration
	pairs                   []string
	given                   func(name string) bool
}

func (x *changes) flags(f *flag.FlagSet) {
	f.StringVar(&x.model, "mos-model", "", "what the E-model may use: `verified` constants only, or provisional ones as well (G722, GSM)")
	f.StringVar(&x.plc, "plc", "", "`codecs` whose lost packets are concealed, in both directions: none, PCMU, PCMA, or PCMU,PCMA")
	f.StringVar(&x.correlation, "correlation", "", "what correlation_id holds: `sip` or call")
	f.Float64Var(&x.badLoss, "bad-loss", 0, "share of lost packets, 0 to 1, `above` which a leg is bad")
	f.DurationVar(&x.badJitter, "bad-jitter", 0, "jitter `above` which a leg is bad")
	f.Float64Var(&x.badMOS, "bad-mos", 0, "MOS, 1 to 5, `below` which a leg is bad")
	f.Func("set", "any setting of the calculator, as `key=value`: --set mos.jitter_buffer=80ms; may come more than once", func(pair string) error {
		x.pairs = append(x.pairs, pair)
		return nil
	})
	x.given = func(name string) (yes bool) {
		f.Visit(func(g *flag.Flag) { yes = yes || g.Name == name })
		return yes
	}
}

// apply returns the settings with the changes.
func (x *changes) apply(cfg calculator.Config) (calculator.Config, error) {
	section := struct {
		Calculator calculator.Config `yaml:"calculator"`
	}{cfg}
	for _, pair := range x.pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return cfg, fmt.Errorf("--set: %q is not key=value", pair)
		}
		key = "calculator." + strings.TrimPrefix(key, "calculator.")
		if err := config.Set(&section, key, value); err != nil {
			return cfg, fmt.Errorf("--set: %w", err)
		}
	}
	cfg = section.Calculator
	switch x.model {
	case "":
	case "verified", "provisional":
		cfg.MOS.Provisional = x.model == "provisional"
	default:
		return cfg, fmt.Errorf("--mos-model: %q is not verified or provisional", x.model)
	}
	if x.plc != "" {
		codecs := strings.Split(x.plc, ",")
		cfg.MOS.ConcealedInbound, cfg.MOS.ConcealedOutbound = codecs, codecs
	}
	if x.correlation != "" {
		cfg.Correlation = x.correlation
	}
	if x.given("bad-loss") {
		cfg.Bad.FractionLost = x.badLoss
	}
	if x.given("bad-jitter") {
		cfg.Bad.Jitter = x.badJitter
	}
	if x.given("bad-mos") {
		cfg.Bad.MOS = x.badMOS
	}
	if err := cfg.Validate(); err != nil {
		return cfg, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return cfg, nil
}
