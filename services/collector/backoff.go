package collector

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/fsagent/fsagent/services/collector/esl"
)

// backoff says how long to wait before the next attempt to connect.
type backoff struct {
	least, most time.Duration
	failures    int
}

// next doubles the wait with every failure in a row, up to most. A refusal that
// only a person can end (password, access list, permission) waits for most at
// once: a switch may lock out who knocks too often. Each wait is drawn from the
// upper half, so that many collectors do not come back in step.
func (b *backoff) next(err error) time.Duration {
	wait := b.most
	if !needsPerson(err) {
		if b.failures < 30 && b.least<<b.failures < b.most {
			wait = b.least << b.failures
		}
	}
	b.failures++
	return wait/2 + rand.N(wait/2+1)
}

func (b *backoff) reset() { b.failures = 0 }

func needsPerson(err error) bool {
	return errors.Is(err, esl.ErrAuth) || errors.Is(err, esl.ErrRejected) ||
		errors.Is(err, esl.ErrPermission) || errors.Is(err, errPasswordFile)
}
