package fsagent_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/command"
	"github.com/fsagent/fsagent/services/fsagent/keyring"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.yaml.in/yaml/v3"
)

// secured is a server with the configuration of deploy/nats.
type secured struct {
	t   *testing.T
	dir string // of the configuration, with the keys in it
	srv *server.Server
	log *violations
}

// violations keeps what the server says of refused clients.
type violations struct {
	t  *testing.T
	mu sync.Mutex
	// said is one line each.
	said []string
}

func (v *violations) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.said = append(v.said, fmt.Sprintf(format, args...))
}
func (v *violations) Noticef(string, ...any)            {}
func (v *violations) Warnf(string, ...any)              {}
func (v *violations) Fatalf(format string, args ...any) { v.Errorf(format, args...) }
func (v *violations) Debugf(string, ...any)             {}
func (v *violations) Tracef(string, ...any)             {}

func (v *violations) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.said...)
}

// secure starts a server with a file of deploy/nats, but for its places: what
// replace says, port and store.
func secure(t *testing.T, conf string, replace func(dir, text string) string) *secured {
	t.Helper()
	s := &secured{t: t, dir: t.TempDir(), log: &violations{t: t}}
	if _, err := keyring.Make(filepath.Join(s.dir, "keys"), false); err != nil {
		t.Fatal(err)
	}
	// The server has the public keys as keys/public.conf; the container mounts them so.
	public, err := os.ReadFile(filepath.Join(s.dir, "keys", keyring.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "keys/public.conf"), string(public))
	for _, name := range []string{"nats.conf", "nats-tls.conf"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/nats", name))
		if err != nil {
			t.Fatal(err)
		}
		if replace != nil {
			text = []byte(replace(s.dir, string(text)))
		}
		write(t, filepath.Join(s.dir, name), string(text))
	}
	opts, err := server.ProcessConfigFile(filepath.Join(s.dir, conf))
	if err != nil {
		t.Fatal(err)
	}
	s.start(opts)
	return s
}

func (s *secured) start(opts *server.Options) {
	s.t.Helper()
	opts.Host, opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, 0, s.t.TempDir(), true
	srv, err := server.NewServer(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.SetLoggerV2(s.log, false, false, false)
	srv.Start()
	s.t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(2*time.Minute) || !srv.JetStreamEnabled() {
		s.t.Fatal("the server does not become ready")
	}
	s.srv = srv
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *secured) seed(user string) string {
	return filepath.Join(s.dir, "keys", user, keyring.SeedFile)
}

// client connects as a user, under the name that its programs have.
func (s *secured) client(user, name string) *nats.Conn {
	s.t.Helper()
	nc, err := stream.Connect(stream.Connection{URL: s.srv.ClientURL(), NKeyFile: s.seed(user)}, name, natstest.Logger(s.t), nats.RetryOnFailedConnect(false))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// What a service has to do it may do, and what it need not do is refused.
func TestNATSPermissions(t *testing.T) {
	t.Parallel()
	s := secure(t, "nats.conf", nil)
	event := stream.EventSubject(3, "fs-1", []byte("CHANNEL_CREATE"))
	sample, segment := stream.SampleSubject(3), stream.StateSubject(stream.SegmentKey(3, 7))
	admin := []string{"$JS.API.STREAM.DELETE.", "$JS.API.STREAM.PURGE.", "$JS.API.STREAM.UPDATE.", "$JS.API.STREAM.MSG.DELETE."}
	var destroy, create []string
	for _, name := range []string{stream.Events, stream.Samples, stream.DeadLetter, stream.StateStream} {
		for _, verb := range admin {
			destroy = append(destroy, verb+name)
		}
		create = append(create, "$JS.API.STREAM.CREATE."+name)
	}
	consume := func(of, name string) []string {
		return []string{"$JS.API.CONSUMER.CREATE." + of + "." + name, "$JS.API.CONSUMER.DURABLE.CREATE." + of + "." + name, "$JS.API.CONSUMER.MSG.NEXT." + of + "." + name}
	}
	everything := []string{"fsagent.>", ">", "$KV.>", "$JS.API.>", "$SYS.>", "_INBOX.>", "_INBOX.*.>"}
	for _, c := range []struct {
		user, name                    string
		may, mayNot, follow, overhear []string
	}{
		{
			"collector", "fsagent-collector",
			[]string{event},
			join(destroy, create, consume(stream.Events, "x"), consume(stream.Samples, stream.ExportConsumer),
				[]string{sample, segment, stream.StateSubject(stream.MetaKey), stream.DeadLetterSubject, stream.RetrySubject, "$JS.API.DIRECT.GET." + stream.Events, "$JS.API.STREAM.MSG.GET." + stream.Events, "$JS.API.STREAM.LIST"}),
			[]string{"_INBOX.fsagent-collector.x"},
			join(everything, []string{event, "_INBOX.fsagent-calculator.>", "_INBOX.fsagent-exporter.>"}),
		},
		{
			"calculator", "fsagent-calculator",
			join([]string{sample, segment}, create),
			join(destroy, consume(stream.Samples, stream.ExportConsumer),
				[]string{event, stream.DeadLetterSubject, stream.RetrySubject, "$JS.API.STREAM.CREATE.OTHER", "$JS.ACK." + stream.Samples + "." + stream.ExportConsumer + ".1.1.1.1.0"}),
			[]string{"_INBOX.fsagent-calculator.x"},
			join(everything, []string{"_INBOX.fsagent-exporter.>", "_INBOX.fsagent-collector.>"}),
		},
		{
			"exporter", "fsagent-exporter",
			join([]string{stream.DeadLetterSubject}, consume(stream.Samples, stream.ExportConsumer)[:1], consume(stream.Samples, stream.ExportAheadConsumer)[2:]),
			join(destroy, create, consume(stream.Events, "x"), consume(stream.Samples, "mine"), consume(stream.StateStream, "x"),
				[]string{event, sample, segment, stream.RetrySubject, "$JS.API.CONSUMER.DELETE." + stream.Samples + "." + stream.ExportConsumer, "$JS.API.DIRECT.GET." + stream.Events}),
			[]string{"_INBOX.fsagent-exporter.x"},
			join(everything, []string{sample, "_INBOX.fsagent-calculator.>", "_INBOX.fsagent-collector.>"}),
		},
		{
			"operator", "fsagent-check",
			[]string{stream.RetrySubject, "$JS.API.STREAM.MSG.DELETE." + stream.DeadLetter, "$JS.API.CONSUMER.CREATE." + stream.Events + ".x",
				"$JS.API.STREAM.CREATE.FSAGENT_ARCHIVE", "$JS.API.CONSUMER.CREATE.FSAGENT_ARCHIVE.x",
				"$JS.API.STREAM.UPDATE." + stream.Events, "$JS.API.STREAM.UPDATE." + stream.Samples},
			append(create, "$JS.API.STREAM.UPDATE."+stream.DeadLetter, "$JS.API.STREAM.UPDATE."+stream.StateStream, event, sample, segment, stream.DeadLetterSubject, "$JS.API.STREAM.DELETE."+stream.Events, "$JS.API.STREAM.PURGE."+stream.DeadLetter, "$JS.API.STREAM.MSG.DELETE."+stream.Events,
				"$JS.API.CONSUMER.DELETE."+stream.Samples+"."+stream.ExportConsumer, "$JS.API.CONSUMER.CREATE."+stream.StateStream+".x"),
			[]string{"_INBOX.fsagent-history.x", "_INBOX.fsagent-deadletter.x"},
			join(everything, []string{"_INBOX.fsagent-calculator.>"}),
		},
	} {
		t.Run(c.user, func(t *testing.T) {
			t.Parallel()
			check := func(what, subject string, allowed bool, do func(*nats.Conn) error) {
				t.Helper()
				nc := s.client(c.user, c.name)
				defer nc.Close()
				if err := do(nc); err != nil {
					t.Fatal(err)
				}
				if err := nc.FlushTimeout(2 * time.Minute); err != nil {
					t.Fatal(err)
				}
				if refused := errors.Is(nc.LastError(), nats.ErrPermissionViolation); refused == allowed {
					t.Errorf("%s %s: refused is %v, want %v", what, subject, refused, !allowed)
				}
			}
			for allowed, subjects := range map[bool][]string{true: c.may, false: c.mayNot} {
				for _, subject := range subjects {
					check("publish to", subject, allowed, func(nc *nats.Conn) error { return nc.Publish(subject, nil) })
				}
			}
			for allowed, subjects := range map[bool][]string{true: c.follow, false: c.overhear} {
				for _, subject := range subjects {
					check("subscribe to", subject, allowed, func(nc *nats.Conn) error {
						_, err := nc.Subscribe(subject, func(*nats.Msg) {})
						return err
					})
				}
			}
		})
	}
}

func join(lists ...[]string) (out []string) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// Nobody comes in without one of the keys.
func TestNATSStrangers(t *testing.T) {
	t.Parallel()
	s := secure(t, "nats.conf", nil)
	strange := secure(t, "nats.conf", nil)
	for name, c := range map[string]stream.Connection{
		"anonymous":      {},
		"a password":     {User: "collector", Password: "collector"},
		"another's keys": {NKeyFile: strange.seed("calculator")},
	} {
		c.URL = s.srv.ClientURL()
		nc, err := stream.Connect(c, "fsagent-collector", natstest.Logger(t), nats.RetryOnFailedConnect(false))
		if err == nil {
			nc.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: got %v, want ErrAuthorization", name, err)
		}
	}
}

// The whole pipeline runs with these permissions, whoever starts first, and the
// operator's commands do. All that is refused is the making of streams by those
// who may not, while they wait for a calculator.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	const name = "03a-loss5-jitter30-pcmu"
	const prefix = "github.com/fsagent/fsagent/services/"
	s := secure(t, "nats.conf", nil)
	b := newSwitchboard(t, name)
	environ := func(user string) []string {
		return []string{
			"FSAGENT_NATS_URL=" + s.srv.ClientURL(), "FSAGENT_NATS_NKEY_FILE=" + s.seed(user), "FSAGENT_HTTP_PORT=0",
			"FSAGENT_OTEL_ENDPOINT=" + b.receiver.Addr(), "FSAGENT_OTEL_INSECURE=true", "FSAGENT_OTEL_MAX_FUTURE=" + ever.String(),
			`FSAGENT_FREESWITCH_INSTANCES=[{"name":"` + instance + `","host":"127.0.0.1","port":` + port(b) + `,"password":"ClueCon"}]`,
		}
	}
	collector := startProcess(t, natstest.Build(t, prefix+"collector/cmd/collector"), environ("collector")...)
	until(t, "the collector waits", func() bool { return strings.Contains(collector.output.String(), "a calculator does") })
	startProcess(t, natstest.Build(t, prefix+"calculator/cmd/calculator"), environ("calculator")...)
	play(t, b.server, name, 200)
	want := strings.Split(unzip(t, "testdata/"+name+".txt.gz"), "\n")

	operator := s.client("operator", "fsagent-check")
	until(t, "samples wait", func() bool { return len(batches(t, operator)) > 16 }) // one claim for each partition
	startProcess(t, natstest.Build(t, prefix+"exporter/cmd/exporter"), environ("exporter")...)
	until(t, "all points are there", func() bool { return len(otlptest.Unique(b.receiver.Points())) >= len(want)-1 })
	golden(t, name, b.receiver.Points())

	// The second consumer, which is there while the exporters catch up.
	catchUp(t, s.client("exporter", "fsagent-exporter"))

	// A letter, as the exporter parks it, goes back.
	all := batches(t, operator)
	parked := &nats.Msg{Subject: stream.DeadLetterSubject, Data: all[len(all)-1].Data, Header: nats.Header{stream.HeaderReason: {"refused"}, stream.HeaderSequence: {strconv.FormatUint(all[len(all)-1].Sequence, 10)}}}
	js, err := jetstream.New(s.client("exporter", "fsagent-exporter"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), parked); err != nil {
		t.Fatal(err)
	}
	archive(t, operator)
	for _, args := range [][]string{{"replay"}, {"replay", "--rate", "auto"}, {"replay", "--stream", "FSAGENT_ARCHIVE"}, {"check"}, {"limits"}, {"limits", "--apply"}, {"deadletter", "list"}, {"deadletter", "show", "1"}, {"deadletter", "retry", "1"}, {"explain", "4049c221-e112-4513-84e1-a804c70d03e1"}} {
		var stdout, stderr bytes.Buffer
		code := command.Run(t.Context(), args, append(environ("operator"), "FSAGENT_EVENTS_MAX_AGE=48h"), &stdout, &stderr)
		t.Logf("%v: status %d\n%s%s", args, code, &stdout, &stderr)
		if args[0] == "check" {
			if !strings.Contains(stdout.String(), "with the settings that fsagent needs") {
				t.Error("check does not see the streams") // it finds fault with the simulated FreeSWITCH
			}
		} else if code != 0 {
			t.Errorf("%v: status %d", args, code)
		}
		if apply := len(args) == 2 && args[1] == "--apply"; apply && !strings.Contains(stdout.String(), "as configured now") {
			t.Error("the limits of the streams are not changed")
		}
	}
	for _, line := range s.log.all() {
		if !strings.Contains(line, "STREAM.CREATE.") || !strings.Contains(line, "Publish Violation") {
			t.Errorf("the server says: %s", line)
		}
	}
}

// archive makes the one of deploy/nats, and waits until it has what is to be kept.
func archive(t *testing.T, nc *nats.Conn) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/nats/archive.json")
	if err != nil {
		t.Fatal(err)
	}
	var cfg jetstream.StreamConfig
	if err := json.Unmarshal(text, &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.MaxBytes = -1 // less room than on a server
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	made, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the archive has events", func() bool {
		info, err := made.Info(t.Context())
		return err == nil && info.State.Msgs > 0
	})
}

// catchUp does what an exporter does with the second consumer.
func catchUp(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	made, err := js.CreateConsumer(t.Context(), stream.Samples, stream.ExportAhead(stream.ExportSettings{AckWait: time.Second, MaxAckPending: 10}, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Consumer(t.Context(), stream.Samples, stream.ExportAheadConsumer); err != nil {
		t.Error(err)
	}
	msg, err := made.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Error(err)
	}
	if err := js.DeleteConsumer(t.Context(), stream.Samples, stream.ExportAheadConsumer); err != nil {
		t.Error(err)
	}
}

// The values for NATS' Helm chart have the users and permissions of nats.conf.
func TestChartHasThePermissions(t *testing.T) {
	t.Parallel()
	s := secure(t, "nats.conf", nil)
	want, err := server.ProcessConfigFile(filepath.Join(s.dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../deploy/kubernetes/nats-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Config struct {
			Merge map[string]any `yaml:"merge"`
		} `yaml:"config"`
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	var merged bytes.Buffer
	enc := json.NewEncoder(&merged)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(values.Config.Merge); err != nil {
		t.Fatal(err)
	}
	conf := merged.String()
	// The chart takes the marks off, and the container has the keys as variables.
	for _, user := range keyring.Users() {
		seed, err := os.ReadFile(s.seed(user))
		if err != nil {
			t.Fatal(err)
		}
		kp, err := nkeys.ParseDecoratedUserNKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		mark := `"<< $` + strings.ToUpper(user) + `_KEY >>"`
		if !strings.Contains(conf, mark) {
			t.Errorf("%s has no key in the values", user)
		}
		conf = strings.Replace(conf, mark, strconv.Quote(public(t, kp)), 1)
	}
	write(t, filepath.Join(s.dir, "chart.conf"), conf)
	got, err := server.ProcessConfigFile(filepath.Join(s.dir, "chart.conf"))
	if err != nil {
		t.Fatal(err)
	}
	permissions := func(o *server.Options) map[string]*server.Permissions {
		out := map[string]*server.Permissions{}
		for _, u := range o.Nkeys {
			out[u.Nkey] = u.Permissions
		}
		return out
	}
	if !reflect.DeepEqual(permissions(got), permissions(want)) {
		t.Error("nats-values.yaml and nats.conf give different permissions")
	}
	if got.SystemAccount != want.SystemAccount {
		t.Errorf("system account %q, want %q", got.SystemAccount, want.SystemAccount)
	}
}

// With nats-tls.conf a client needs the authority's certificate, and, with verify,
// one of its own.
func TestNATSWithTLS(t *testing.T) {
	t.Parallel()
	for _, mutual := range []bool{false, true} {
		t.Run(fmt.Sprintf("mutual %v", mutual), func(t *testing.T) {
			t.Parallel()
			s := secure(t, "nats-tls.conf", func(dir, text string) string {
				certificates(t, dir)
				text = strings.ReplaceAll(text, "/etc/nats/tls", dir)
				if mutual {
					text = strings.Replace(text, "verify: false", "verify: true", 1)
				}
				return text
			})
			in := func(name string) string { return filepath.Join(s.dir, name) }
			for _, c := range []struct {
				name string
				with stream.Connection
				ok   bool
			}{
				{"no authority", stream.Connection{}, false},
				{"authority", stream.Connection{CAFile: in("ca.crt")}, !mutual},
				{"authority and own certificate", stream.Connection{CAFile: in("ca.crt"), CertFile: in("client.crt"), KeyFile: in("client.key")}, true},
			} {
				c.with.URL, c.with.NKeyFile = s.srv.ClientURL(), s.seed("calculator")
				nc, err := stream.Connect(c.with, "fsagent-calculator", natstest.Logger(t), nats.RetryOnFailedConnect(false))
				if (err == nil) != c.ok {
					t.Errorf("%s: got %v, want success %v", c.name, err, c.ok)
				}
				if err != nil {
					continue
				}
				js, err := jetstream.New(nc)
				if err != nil {
					t.Fatal(err)
				}
				if err := stream.Ensure(t.Context(), js, stream.DefaultSettings()); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				if _, err := nc.TLSConnectionState(); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				nc.Close()
			}
		})
	}
}

// certificates writes ca.crt, server.crt and client.crt with their keys.
func certificates(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "ca.crt")); err == nil {
		return
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityKey := certificate(t, dir, "ca", authority, authority, nil)
	for i, name := range []string{"server", "client"} {
		certificate(t, dir, name, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}, authority, authorityKey)
	}
}

// certificate signs with the key of the issuer, or with its own if that is nil.
func certificate(t *testing.T, dir, name string, c, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if issuerKey == nil {
		issuerKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return key
}

// The same permissions in users' JWTs, with credentials files instead of nkeys:
// how a NATS with an operator of its own, or a hosted one, has it.
func TestNATSWithCreds(t *testing.T) {
	t.Parallel()
	plain := secure(t, "nats.conf", nil)
	opts, err := server.ProcessConfigFile(filepath.Join(plain.dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	permissions := map[string]*server.Permissions{}
	for _, u := range opts.Nkeys {
		permissions[u.Nkey] = u.Permissions
	}

	operator, account, system := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount)
	oc := jwt.NewOperatorClaims(public(t, operator))
	oc.SystemAccount = public(t, system)
	resolver := &server.MemAccResolver{}
	for _, kp := range []nkeys.KeyPair{account, system} {
		ac := jwt.NewAccountClaims(public(t, kp))
		if kp == account {
			ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		token, err := ac.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(public(t, kp), token); err != nil {
			t.Fatal(err)
		}
	}
	s := &secured{t: t, dir: t.TempDir(), log: &violations{t: t}}
	s.start(&server.Options{JetStream: true, TrustedOperators: []*jwt.OperatorClaims{oc}, AccountResolver: resolver, SystemAccount: public(t, system)})

	connect := func(user string) *nats.Conn {
		seed, err := os.ReadFile(plain.seed(user))
		if err != nil {
			t.Fatal(err)
		}
		kp, err := nkeys.ParseDecoratedUserNKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		p := permissions[public(t, kp)]
		uc := jwt.NewUserClaims(public(t, kp))
		uc.Pub.Allow, uc.Pub.Deny, uc.Sub.Allow = p.Publish.Allow, p.Publish.Deny, p.Subscribe.Allow
		token, err := uc.Encode(account)
		if err != nil {
			t.Fatal(err)
		}
		creds, err := jwt.FormatUserConfig(token, bytes.TrimSpace(seed))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.dir, user+".creds")
		write(t, path, string(creds))
		nc, err := stream.Connect(stream.Connection{URL: s.srv.ClientURL(), CredsFile: path}, "fsagent-"+user, natstest.Logger(t), nats.RetryOnFailedConnect(false))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	for _, user := range []string{"collector", "calculator", "exporter"} {
		js, err := jetstream.New(connect(user))
		if err != nil {
			t.Fatal(err)
		}
		err = stream.Ensure(t.Context(), js, stream.DefaultSettings())
		switch {
		case user == "collector" && (err == nil || !strings.Contains(err.Error(), "a calculator does")):
			t.Errorf("before there are streams, %s got %v", user, err)
		case user != "collector" && err != nil:
			t.Errorf("%s: %v", user, err)
		}
	}
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	kp, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func public(t *testing.T, kp nkeys.KeyPair) string {
	t.Helper()
	key, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
