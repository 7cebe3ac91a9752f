package exporter_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// authority signs certificates for one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) file(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue returns the files of a certificate for name at 127.0.0.1, and its key.
func (a *authority) issue(name string, usage x509.ExtKeyUsage) (cert, key string) {
	a.t.Helper()
	own := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.file(name+".pem", "CERTIFICATE", der), a.file(name+"-key.pem", "EC PRIVATE KEY", private)
}

// TestMutualTLS: the endpoint takes only those whose certificate it knows.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	ca := a.file("ca.pem", "CERTIFICATE", a.cert.Raw)
	cert, key := a.issue("endpoint", x509.ExtKeyUsageServerAuth)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AddCert(a.cert)
	sink, err := otlptest.Start("127.0.0.1:0", grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known,
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	r := newRig(t)
	r.sink = sink
	r.cfg.Endpoint, r.cfg.Insecure, r.cfg.Certificate = sink.Addr(), nil, ca
	e := r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	eventually(t, "refusal without a certificate", func() bool { return e.Ready() != nil && e.Stats().Retries > 1 })
	e.stop()
	if got := len(sink.Points()); got != 0 {
		t.Errorf("points without a certificate: got %d, want 0", got)
	}
	r.cfg.ClientCertificate, r.cfg.ClientKey = a.issue("exporter", x509.ExtKeyUsageClientAuth)
	r.start()
	r.exactly(1)
}
