// Package fleet runs the services and NATS servers as processes of their own,
// for what must be shown with real processes: fault campaigns and measurements.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// programs by the names that Start knows.
var programs = map[string]string{
	"collector":   "github.com/fsagent/fsagent/services/collector/cmd/collector",
	"calculator":  "github.com/fsagent/fsagent/services/calculator/cmd/calculator",
	"exporter":    "github.com/fsagent/fsagent/services/exporter/cmd/exporter",
	"fsagent":     "github.com/fsagent/fsagent/services/fsagent/cmd/fsagent",
	"nats-server": "github.com/nats-io/nats-server/v2",
}

// Build compiles the services, fsagent and nats-server into dir.
func Build(ctx context.Context, dir string) error {
	for name, pkg := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// ErrEnd is returned by Stop for a process that does not end, or not well.
var ErrEnd = errors.New("process did not end as asked")

// Process is a program that can be killed, paused and started again.
type Process struct {
	Name    string
	program string
	args    []string
	environ []string
	log     string
	cmd     *exec.Cmd
	exited  chan struct{}
	wanted  bool          // should run
	used    time.Duration // CPU of earlier starts
}

// Start runs program with environ added to the environment. What it says goes to
// a file in dir, named after name.
func Start(bin, dir, name, program string, args, environ []string) (*Process, error) {
	p := &Process{Name: name, program: filepath.Join(bin, program), args: args, environ: environ, log: filepath.Join(dir, name+".log")}
	return p, p.Restart()
}

// Restart starts the process again, after Kill or Stop.
func (p *Process) Restart() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = append(os.Environ(), p.environ...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	p.cmd, p.exited, p.wanted = cmd, exited, true
	return nil
}

// Kill is kill -9.
func (p *Process) Kill() {
	p.wanted = false
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.exited
	p.used += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// stopTimeout is how long an orderly end may take.
const stopTimeout = 30 * time.Second

// Stop asks the process to end. It returns an error wrapping ErrEnd if it does
// not in time, or with a status that is not 0.
func (p *Process) Stop() error {
	p.wanted = false
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		return fmt.Errorf("%w: %s, within %v", ErrEnd, p.Name, stopTimeout)
	}
	p.used += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%w: %s, with status %d; see %s", ErrEnd, p.Name, code, p.log)
	}
	return nil
}

// Died reports whether the process has ended by itself.
func (p *Process) Died() bool {
	select {
	case <-p.exited:
		return p.wanted
	default:
		return false
	}
}

// clockTick of /proc is 1/100 s on Linux, whatever the kernel's own.
const clockTick = time.Second / 100

// CPU is the processor time used so far, over all starts.
func (p *Process) CPU() (time.Duration, error) {
	if !p.wanted {
		return p.used, nil
	}
	fields, err := p.proc("stat")
	if err != nil {
		return 0, err
	}
	// Fields 14 and 15, counted from 1; the name before them is in parentheses.
	_, rest, _ := strings.Cut(fields, ") ")
	words := strings.Fields(rest)
	var ticks int
	for _, w := range words[11:13] {
		n, err := strconv.Atoi(w)
		if err != nil {
			return 0, fmt.Errorf("CPU of %s: %w", p.Name, err)
		}
		ticks += n
	}
	return p.used + time.Duration(ticks)*clockTick, nil
}

// RSS is the resident memory in bytes.
func (p *Process) RSS() (int64, error) {
	text, err := p.proc("statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(text)[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// Peak is the most resident memory that the process has had, in bytes.
func (p *Process) Peak() (int64, error) {
	text, err := p.proc("status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("memory of %s: the kernel does not tell", p.Name)
}

func (p *Process) proc(file string) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Name, err)
	}
	return string(b), nil
}
