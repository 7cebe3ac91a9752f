package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// With deploy/nats/compose-tls.yaml the services speak TLS with NATS; and all keys can
// be made anew.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	s := newStack(t, "NATS_TLS_DIR="+dir)
	s.files = append(s.files, "deploy/nats/compose-tls.yaml")
	s.compose("up", "--detach", "calculator", "exporter", "otelcol")
	s.healthy("calculator", "exporter")
	if _, err := s.try("exec", "-T", "nats", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8222/healthz"); err != nil {
		t.Error(err)
	}
	s.compose("run", "--rm", "keys", "keys", "--dir", "/keys", "--renew")
	s.compose("restart", "nats", "calculator", "exporter")
	for _, service := range []string{"calculator", "exporter"} {
		until(t, 2*time.Minute, service+" is ready with a new key", func() bool { return s.containers(service)[0].ready() })
	}
}

// certificate writes server.crt and server.key for "nats", which are their own
// authority, ca.crt. The containers run as nobody: everybody may read them.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{"nats"},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"ca.crt": public, "server.crt": public, "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
