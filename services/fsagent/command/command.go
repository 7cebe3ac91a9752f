// Package command is fsagent's command line: what people type and read.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/internal/stream"
)

// call is one call of a command.
type call struct {
	flags          *flag.FlagSet
	environ        []string
	stdout, stderr io.Writer
}

// command parses its own flags and does its work.
type command struct {
	name, purpose string
	run           func(ctx context.Context, c call, args []string) error
}

func commands() []command {
	return []command{
		{"run", "watch the configured FreeSWITCH servers; the default", run},
		{"demo", "show the whole pipeline on recorded calls", runDemo},
		{"check", "say what works and what is missing for call quality", runCheck},
		{"explain", "say how the numbers of a leg were made, event by event", runExplain},
		{"replay", "compute the past again from the stored events, as it was or with other settings", runReplay},
		{"deadletter", "list, show or retry what no endpoint took", runDeadLetter},
		{"limits", "show where the streams keep more or less than is configured, or change that", runLimits},
		{"keys", "make the keys by which the services sign in to NATS", runKeys},
		{"simulate", "be one or more FreeSWITCH servers that play recorded calls", simulate},
	}
}

// errUsage is returned after the mistake has been printed.
var errUsage = errors.New("bad command line")

// Run does what args say and returns the exit code: 0, 1 for an error, 2 for a
// mistake in the command line or the configuration.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	name := "run"
	if len(args) > 0 && (!strings.HasPrefix(args[0], "-") || isHelp(args[0])) {
		name, args = args[0], args[1:]
	}
	switch {
	case name == "help" || isHelp(name):
		usage(stdout)
		return service.ExitOK
	case name == "version" || name == "--version":
		fmt.Fprintln(stdout, "fsagent", service.Version())
		return service.ExitOK
	}
	if service.Asks(name) {
		return ask(ctx, call{flag.NewFlagSet("fsagent "+name, flag.ContinueOnError), environ, stdout, stderr}, name, args)
	}
	for _, cmd := range commands() {
		if cmd.name != name {
			continue
		}
		c := call{flag.NewFlagSet("fsagent "+name, flag.ContinueOnError), environ, stdout, stderr}
		c.flags.SetOutput(stderr)
		c.flags.Usage = func() {
			fmt.Fprintf(stderr, "fsagent %s: %s\n\nFlags:\n", name, cmd.purpose)
			c.flags.PrintDefaults()
		}
		return exitCode(cmd.run(ctx, c, args), stderr)
	}
	fmt.Fprintf(stderr, "fsagent: unknown command %q; see fsagent help\n", name)
	return service.ExitConfig
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return service.ExitOK
	case errors.Is(err, errUsage):
		return service.ExitConfig
	}
	fmt.Fprintf(stderr, "fsagent: %v\n", err)
	if errors.Is(err, config.ErrInvalid) || errors.Is(err, stream.ErrSettings) {
		return service.ExitConfig
	}
	return service.ExitError
}

// parse reads flags and refuses arguments.
func (c call) parse(args []string) error {
	switch err := c.flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case c.flags.NArg() > 0:
		return c.mistake("unexpected argument %q", c.flags.Arg(0))
	}
	return nil
}

func (c call) mistake(format string, args ...any) error {
	fmt.Fprintf(c.stderr, "%s: %s; see %s --help\n", c.flags.Name(), fmt.Sprintf(format, args...), c.flags.Name())
	return errUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "fsagent tells people who run FreeSWITCH how their calls sound.\n\nUsage: fsagent [command] [flags]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.purpose)
	}
	fmt.Fprint(w, "  health     ask the fsagent that runs here how it is; ready: whether it can do its work\n  version    print the version\n\nfsagent <command> --help tells a command's flags; docs/configuration.md all settings.\n")
}
