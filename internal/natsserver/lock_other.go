//go:build !unix

package natsserver

import "os"

// lock does nothing where there is no flock: take care not to start two.
func lock(string) (*os.File, error) { return nil, nil }
