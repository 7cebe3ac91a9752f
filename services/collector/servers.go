package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl"
)

// DefaultPort is the event socket's (mod_event_socket.c, config).
const DefaultPort = 8021

// errPasswordFile is returned when a password_file cannot be read.
var errPasswordFile = errors.New("password_file cannot be read")

// Instances is the list of FreeSWITCH servers.
type Instances []Instance

// Instance is one FreeSWITCH server.
type Instance struct {
	// Name stands in subjects and labels: letters, digits, '_' and '-'.
	Name string `yaml:"name" json:"name"`
	Host string `yaml:"host" json:"host"`
	Port int    `yaml:"port" json:"port"` // 0 is DefaultPort
	// Password, or PasswordFile that holds it; the file is read at each attempt
	// to connect.
	Password     esl.Password `yaml:"password" json:"password"`
	PasswordFile string       `yaml:"password_file" json:"password_file"`
	// User and Domain of FreeSWITCH's directory, for userauth; without User the
	// password is the event socket's own. User may be "user@domain".
	User   string `yaml:"user" json:"user"`
	Domain string `yaml:"domain" json:"domain"`
}

// UnmarshalText reads the JSON list of the environment.
func (l *Instances) UnmarshalText(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var list []Instance
	if err := dec.Decode(&list); err != nil {
		return fmt.Errorf("JSON list of FreeSWITCH servers: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("JSON list of FreeSWITCH servers: something follows the list")
	}
	*l = list
	return nil
}

func (l Instances) validate() error {
	if len(l) == 0 {
		return errors.New("freeswitch_instances: none given")
	}
	var errs []error
	seen := make(map[string]int)
	for i, in := range l {
		key := fmt.Sprintf("freeswitch_instances[%d]", i)
		if first, ok := seen[in.Name]; ok {
			errs = append(errs, fmt.Errorf("%s.name: %q is the name of freeswitch_instances[%d] too", key, in.Name, first))
		} else {
			seen[in.Name] = i
		}
		errs = append(errs, in.validate(key))
	}
	return errors.Join(errs...)
}

func (in Instance) validate(key string) error {
	var errs []error
	mistake := func(field, format string, v ...any) {
		errs = append(errs, fmt.Errorf("%s.%s: "+format, append([]any{key, field}, v...)...))
	}
	if err := stream.CheckInstance(in.Name); err != nil {
		mistake("name", "%w", err)
	}
	if in.Host == "" || strings.ContainsAny(in.Host, " \r\n\t/") {
		mistake("host", "%q is not a host", in.Host)
	}
	if in.Port < 0 || in.Port > 65535 {
		mistake("port", "%d is not between 1 and 65535", in.Port)
	}
	switch {
	case in.Password == "" && in.PasswordFile == "":
		mistake("password", "neither password nor password_file is given")
	case in.Password != "" && in.PasswordFile != "":
		mistake("password", "password and password_file exclude each other")
	}
	for _, f := range []struct{ field, value string }{{"password", string(in.Password)}, {"user", in.User}, {"domain", in.Domain}} {
		if strings.ContainsAny(f.value, "\r\n\x00") {
			mistake(f.field, "it holds a line break or a zero byte")
		}
	}
	if strings.ContainsAny(in.User, ": ") || strings.ContainsAny(in.Domain, ":@ ") {
		mistake("user", "user and domain must be without colon and space")
	}
	if in.Domain != "" && in.User == "" {
		mistake("domain", "it is of no use without user")
	}
	if in.User != "" && in.Domain == "" && !strings.Contains(in.User, "@") {
		mistake("user", "%q is without domain", in.User)
	}
	return errors.Join(errs...)
}

func (in Instance) address() string {
	port := in.Port
	if port == 0 {
		port = DefaultPort
	}
	return net.JoinHostPort(in.Host, strconv.Itoa(port))
}

// ESL is how to call the server. The password file is read now; its error says
// so.
func (in Instance) ESL(cfg ESLConfig) (esl.Config, error) {
	password, err := in.secret()
	return esl.Config{
		Address:      in.address(),
		Password:     password,
		User:         in.User,
		Domain:       in.Domain,
		DialTimeout:  cfg.DialTimeout,
		ReplyTimeout: cfg.ReplyTimeout,
		IdleTimeout:  cfg.IdleTimeout,
		ProbeTimeout: cfg.ProbeTimeout,
		MaxBody:      cfg.MaxBodyBytes,
	}, err
}

// secret returns the password, or the first line of its file.
func (in Instance) secret() (esl.Password, error) {
	if in.PasswordFile == "" {
		return in.Password, nil
	}
	b, err := os.ReadFile(in.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPasswordFile, err)
	}
	return esl.Password(strings.TrimRight(string(b), "\r\n")), nil
}
