package calculator

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/fsagent/fsagent/internal/emodel"
	"github.com/fsagent/fsagent/internal/leg"
)

// Config of a calculator.
type Config struct {
	// ID is that of this replica among the calculators; unique. Empty: host name,
	// process id and a random suffix.
	ID string `yaml:"id" env:"FSAGENT_CALCULATOR_ID"`
	// Lease is after how long without a sign of life a replica counts as dead
	// and the others take its partitions.
	Lease time.Duration `yaml:"lease" env:"FSAGENT_CALCULATOR_LEASE"`
	// FlushInterval is how long a sample waits for others to go with it.
	FlushInterval time.Duration `yaml:"flush_interval" env:"FSAGENT_CALCULATOR_FLUSH_INTERVAL"`
	// CheckpointInterval is how much work, in time, a successor repeats, and the time
	// that writing a checkpoint takes.
	CheckpointInterval time.Duration `yaml:"checkpoint_interval" env:"FSAGENT_CALCULATOR_CHECKPOINT_INTERVAL"`
	// Correlation is what correlation_id holds: "sip" (the leg's SIP Call-ID) or
	// "call" (the uuid of the leg that originated the call).
	Correlation string `yaml:"correlation" env:"FSAGENT_CORRELATION"`
	// MOS is what the E-model assumes where reports do not tell.
	MOS MOSConfig `yaml:"mos"`
	// Bad is where the quality of a leg is bad.
	Bad BadConfig `yaml:"bad"`
}

// BadConfig is where the quality of a leg is bad. Its first report over a
// threshold marks it; opentelemetry.legs can be set to send only marked ones.
type BadConfig struct {
	// FractionLost is the share of lost packets, 0 to 1, above which a report or a
	// leg is bad.
	FractionLost float64 `yaml:"fraction_lost" env:"FSAGENT_BAD_FRACTION_LOST"`
	// Jitter is the jitter above which a report or a leg is bad.
	Jitter time.Duration `yaml:"jitter" env:"FSAGENT_BAD_JITTER"`
	// MOS is the MOS, 1 to 5, below which a report or a leg is bad.
	MOS float64 `yaml:"mos" env:"FSAGENT_BAD_MOS"`
}

func (c BadConfig) validate() (errs []error) {
	if !(c.FractionLost >= 0 && c.FractionLost <= 1) {
		errs = append(errs, fmt.Errorf("calculator.bad.fraction_lost: %v is not between 0 and 1", c.FractionLost))
	}
	if c.Jitter < 0 || c.Jitter > time.Minute {
		errs = append(errs, fmt.Errorf("calculator.bad.jitter: %v is not between 0 and 1m", c.Jitter))
	}
	if !(c.MOS >= 1 && c.MOS <= 5) {
		errs = append(errs, fmt.Errorf("calculator.bad.mos: %v is not between 1 and 5", c.MOS))
	}
	return errs
}

// MOSConfig is what the E-model assumes of the receivers: inbound media are
// received by FreeSWITCH or by whoever it passes them on to, outbound media by
// the peer of the leg.
type MOSConfig struct {
	// ConcealedInbound lists the G.711 codecs (PCMU, PCMA) whose lost packets are
	// concealed where FreeSWITCH's inbound media are played. "none": neither.
	ConcealedInbound []string `yaml:"concealed_inbound" env:"FSAGENT_MOS_CONCEALED_INBOUND"`
	// ConcealedOutbound lists those whose lost packets the peers conceal.
	ConcealedOutbound []string `yaml:"concealed_outbound" env:"FSAGENT_MOS_CONCEALED_OUTBOUND"`
	// JitterBuffer is the depth of the receivers' jitter buffers. It counts for
	// conversational quality only.
	JitterBuffer time.Duration `yaml:"jitter_buffer" env:"FSAGENT_MOS_JITTER_BUFFER"`
	// Provisional allows codec constants that are not verified (G722, GSM). Their
	// samples say so.
	Provisional bool `yaml:"provisional" env:"FSAGENT_MOS_PROVISIONAL"`
}

// Limits of one flush and of what may wait for it. What waits goes in one message, or,
// where one event makes more than that, in several: each must stay below the server's
// largest, 1 MiB.
const (
	flushSamples     = 200
	flushBytes       = 64 << 10
	waitingBytes     = 8 * flushBytes
	checkpointEvents = 5000
)

// DefaultConfig takes over within five seconds.
func DefaultConfig() Config {
	return Config{
		Lease:              3 * time.Second,
		FlushInterval:      20 * time.Millisecond,
		CheckpointInterval: time.Second,
		Correlation:        "sip",
		MOS: MOSConfig{
			ConcealedInbound: []string{"PCMA", "PCMU"}, ConcealedOutbound: []string{"PCMA", "PCMU"},
			JitterBuffer: 40 * time.Millisecond,
		},
		Bad: BadConfig(leg.DefaultParams().Bad),
	}
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{0,64}$`)

// Validate names every setting that cannot be.
func (c Config) Validate() error {
	var errs []error
	if !idForm.MatchString(c.ID) {
		errs = append(errs, fmt.Errorf("calculator.id: %q is not at most 64 letters, digits, '_' or '-'", c.ID))
	}
	for _, d := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{
		{"calculator.lease", c.Lease, 500 * time.Millisecond, 5 * time.Minute},
		{"calculator.flush_interval", c.FlushInterval, time.Millisecond, 10 * time.Second},
		{"calculator.checkpoint_interval", c.CheckpointInterval, 50 * time.Millisecond, time.Minute},
	} {
		if d.value < d.least || d.value > d.most {
			errs = append(errs, fmt.Errorf("%s: %v is not between %v and %v", d.key, d.value, d.least, d.most))
		}
	}
	if c.Correlation != "sip" && c.Correlation != "call" {
		errs = append(errs, fmt.Errorf("calculator.correlation: %q is not sip or call", c.Correlation))
	}
	return errors.Join(slices.Concat(errs, c.MOS.validate(), c.Bad.validate())...)
}

func (c MOSConfig) validate() (errs []error) {
	for _, list := range []struct {
		key    string
		codecs []string
	}{{"concealed_inbound", c.ConcealedInbound}, {"concealed_outbound", c.ConcealedOutbound}} {
		for _, codec := range list.codecs {
			if codec != "PCMU" && codec != "PCMA" && (codec != "none" || len(list.codecs) > 1) {
				errs = append(errs, fmt.Errorf("calculator.mos.%s: %q is not PCMU or PCMA, nor none alone", list.key, codec))
			}
		}
	}
	if c.JitterBuffer < 0 || c.JitterBuffer > 500*time.Millisecond {
		errs = append(errs, fmt.Errorf("calculator.mos.jitter_buffer: %v is not between 0 and 500ms", c.JitterBuffer))
	}
	return errs
}

func (c MOSConfig) assumptions(concealed []string) emodel.Assumptions {
	return emodel.Assumptions{
		Concealed: concealed, Provisional: c.Provisional, JitterBufferMS: int(c.JitterBuffer.Milliseconds()),
	}
}

// Params are the choices of the step that the settings make.
func (c Config) Params() leg.Params {
	p := leg.DefaultParams()
	p.CorrelationByCall = c.Correlation == "call"
	p.Bad = leg.Thresholds(c.Bad)
	p.Inbound, p.Outbound = c.MOS.assumptions(c.MOS.ConcealedInbound), c.MOS.assumptions(c.MOS.ConcealedOutbound)
	return p
}
