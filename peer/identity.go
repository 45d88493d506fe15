package peer

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// minSecret is in bytes. The public key is shown to whoever asks for it, so the secret must not be one that can be guessed.
const minSecret = 16

// keyLabel tells this key from the others that are derived from the secret.
const keyLabel = "canalgo node key 1"

// errOtherKey is what a handshake with the wrong key ends with.
var errOtherKey = errors.New("has another token")

// An Identity is what proves that a process has the cluster's secret, and finds out whether another one has. It does not
// change and is safe for use by several goroutines.
type Identity struct {
	key    ed25519.PublicKey
	config *tls.Config // of both sides, but for NextProtos and GetConfigForClient
}

// NewIdentity derives the node key from the cluster's secret. The secret is not kept.
func NewIdentity(secret []byte) (*Identity, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("cluster's token: has %d bytes, must have at least %d; use one that `canalgo token` printed", len(secret), minSecret)
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, keyLabel, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the node key: %w", err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	i := &Identity{key: private.Public().(ed25519.PublicKey)}
	// Only a wrapping for the key: it names nobody, and nobody looks at how long it is valid.
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0).UTC(),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, i.key, private)
	if err != nil {
		return nil, fmt.Errorf("make the node's certificate: %w", err)
	}
	i.config = &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // of names and authorities; verify compares the key
		VerifyConnection:       i.verify,
		SessionTicketsDisabled: true,
		// Batches are large from the first write on.
		DynamicRecordSizingDisabled: true,
	}
	return i, nil
}

// verify accepts exactly the derived key. That the other side has its private half is for TLS to check, which it does.
func (i *Identity) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) != 1 || !i.key.Equal(state.PeerCertificates[0].PublicKey) {
		return errOtherKey
	}
	return nil
}

// client is the dialler's configuration.
func (i *Identity) client(protocols []string) *tls.Config {
	config := i.config.Clone()
	config.NextProtos = protocols
	return config
}

// server is the configuration of a port that takes protocols, of several that are offered the one that comes first here.
func (i *Identity) server(protocols []string) *tls.Config {
	config := i.config.Clone()
	config.NextProtos = protocols
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		// TLS lets such a client through; it is not to see the certificate either.
		if len(hello.SupportedProtos) == 0 {
			return nil, errors.New("names no protocol of canalgo")
		}
		return nil, nil
	}
	return config
}
