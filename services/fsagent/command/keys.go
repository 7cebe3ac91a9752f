package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/fsagent/fsagent/services/fsagent/keyring"
)

func runKeys(_ context.Context, c call, args []string) error {
	dir := c.flags.String("dir", "keys", "`directory` of the keys: <user>/"+keyring.SeedFile+" for each service, "+keyring.PublicFile+" for the server")
	renew := c.flags.Bool("renew", false, "make all keys anew; then start the NATS server again, and the services")
	if err := c.parse(args); err != nil {
		return err
	}
	made, err := keyring.Make(*dir, *renew)
	if err != nil {
		return err
	}
	if len(made) == 0 {
		fmt.Fprintf(c.stdout, "all keys are in %s already\n", *dir)
		return nil
	}
	fmt.Fprintf(c.stdout, "new keys in %s: %s\n", *dir, strings.Join(made, ", "))
	return nil
}
