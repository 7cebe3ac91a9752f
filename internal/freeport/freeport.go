// Package freeport finds a TCP port for a process that is to be found there again
// after it was away: in tests, campaigns and measurements.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports from first to before last may be taken by anybody, and are none of those that
// a system gives to outgoing connections (Linux: 32768 and up; RFC 6335: 49152 and up). One of
// these may be another connection's when its process comes back.
const (
	first = 10_000
	last  = 32_000
	tries = 100
)

// ErrNone is returned if no port was found.
var ErrNone = errors.New("no free port found")

// given marks the ports of this process, for itself and for other processes that
// ask here: by a UDP socket at the same port, which ends with the process.
var given sync.Map

// Find returns a port on which nobody listens, at any address, and which is nobody
// else's who got it here, also while nobody listens on it.
func Find() (int, error) {
	var failures error
	for range tries {
		port := first + rand.IntN(last-first)
		mark, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			failures = err
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
		if err != nil {
			failures = errors.Join(err, mark.Close())
			continue
		}
		given.Store(port, mark)
		return port, l.Close()
	}
	return 0, errors.Join(fmt.Errorf("%w from %d to %d", ErrNone, first, last-1), failures)
}
