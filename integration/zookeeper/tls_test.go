//go:build integration

package zookeeper_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"canalgo/config"
	"canalgo/integration/component"
	"canalgo/zkmode"
)

// TestTLS connects by TLS: with the authority that signed the server's certificate, and not with the system's.
func TestTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.pem")
	certificate := selfSigned(t, file)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	z, err := component.StartZooKeeper(ctx, t.TempDir(), component.ZooKeeperOptions{Members: 1, Settings: map[string]string{
		"secureClientPort": strconv.Itoa(port), "secureClientPortAddress": "127.0.0.1", "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
		"ssl.keyStore.location": file, "ssl.trustStore.location": file, "ssl.clientAuth": "none"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Kill() })
	look := func(ca string) error {
		section := config.Coordination{TLS: true, CA: ca}
		c, err := section.TLSConfig()
		if err != nil {
			t.Fatal(err)
		}
		looking, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		session, _, err := zkmode.Look(looking, zkmode.Config{Servers: []string{"127.0.0.1:" + strconv.Itoa(port)}, TLS: c})
		if err == nil && session == 0 {
			t.Error("a session that lasts for no time")
		}
		return err
	}
	if err := look(ca); err != nil {
		t.Errorf("with its authority: %v\n%s", err, tail(z.Members[0].LogFile()))
	}
	if err := look(""); err == nil {
		t.Error("a certificate that nobody known has signed is believed")
	}
}

// selfSigned writes a certificate of 127.0.0.1 and its key into a PEM file, and returns the certificate's PEM.
func selfSigned(t *testing.T, file string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zookeeper"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	both := append(bytes.Clone(certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return certificate
}

func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}
