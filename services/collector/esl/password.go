package esl

import "log/slog"

// Password is a secret that prints as "***".
type Password string

// String hides the password.
func (p Password) String() string {
	if p == "" {
		return ""
	}
	return "***"
}

// GoString hides the password.
func (p Password) GoString() string { return p.String() }

// LogValue hides the password.
func (p Password) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText hides the password, in JSON and YAML too.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
