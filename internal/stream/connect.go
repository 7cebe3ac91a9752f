package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Connection is how to reach NATS and who to be there.
type Connection struct {
	// URL is where NATS is: one or more servers, separated by commas.
	URL string `yaml:"url" env:"FSAGENT_NATS_URL"`
	// CredsFile is a credentials file, with JWT and seed.
	CredsFile string `yaml:"creds_file" env:"FSAGENT_NATS_CREDS_FILE"`
	// NKeyFile is a file with an nkey seed.
	NKeyFile string `yaml:"nkey_file" env:"FSAGENT_NATS_NKEY_FILE"`
	// User is the name to sign in with, with a password.
	User string `yaml:"user" env:"FSAGENT_NATS_USER"`
	// Password is that of the user.
	Password Secret `yaml:"password" env:"FSAGENT_NATS_PASSWORD"`
	// PasswordFile is a file that holds the password of the user.
	PasswordFile string `yaml:"password_file" env:"FSAGENT_NATS_PASSWORD_FILE"`
	// CAFile has the certificates to trust, PEM; empty trusts the system's.
	CAFile string `yaml:"ca_file" env:"FSAGENT_NATS_CA_FILE"`
	// CertFile is a file with our own certificate for mutual TLS, PEM.
	CertFile string `yaml:"cert_file" env:"FSAGENT_NATS_CERT_FILE"`
	// KeyFile is a file with the key of that certificate, PEM.
	KeyFile string `yaml:"key_file" env:"FSAGENT_NATS_KEY_FILE"`
}

// Secret is a string that prints as "***".
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// DefaultConnection is a server on this machine.
func DefaultConnection() Connection { return Connection{URL: nats.DefaultURL} }

// Validate names what cannot be together.
func (c Connection) Validate() error {
	var errs []error
	ways := 0
	for _, set := range []bool{c.CredsFile != "", c.NKeyFile != "", c.User != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		errs = append(errs, errors.New("nats: creds_file, nkey_file and user exclude each other"))
	}
	if c.Password != "" && c.PasswordFile != "" {
		errs = append(errs, errors.New("nats: password and password_file exclude each other"))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("nats: cert_file and key_file belong together"))
	}
	return errors.Join(errs...)
}

// InboxPrefix of a client: its replies come below it, so that a server can keep
// the other clients from reading them.
func InboxPrefix(name string) string {
	return "_INBOX." + notToken.ReplaceAllLiteralString(name, "_")
}

var notToken = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// Connect returns a connection that is or will be: the server may be down, the
// client tries for ever and says once when the state changes.
func Connect(c Connection, name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(InboxPrefix(name)),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // keys are exchanged on both sides one after the other
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // what is sent while away fails at once; our own queues wait
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS", "server", nc.ConnectedServerName(), "address", nc.ConnectedAddr())
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", "server", nc.ConnectedServerName(), "address", nc.ConnectedAddr())
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("lost NATS, trying again", "err", err)
			}
		}),
		// A refused publish shows as a time-out; only this error has the reason.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Error("NATS reports an error", "err", err)
		}),
	}
	auth, err := c.auth()
	if err != nil {
		return nil, err
	}
	opts = append(append(opts, auth...), more...)
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", c.URL, err)
	}
	return nc, nil
}

func (c Connection) auth() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case c.CredsFile != "":
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	case c.NKeyFile != "":
		o, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey_file: %w", err)
		}
		opts = append(opts, o)
	case c.User != "":
		password := string(c.Password)
		if c.PasswordFile != "" {
			b, err := os.ReadFile(c.PasswordFile)
			if err != nil {
				return nil, fmt.Errorf("nats.password_file: %w", err)
			}
			password = strings.TrimRight(string(b), "\r\n")
		}
		opts = append(opts, nats.UserInfo(c.User, password))
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return opts, nil
}
