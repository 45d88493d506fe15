package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A sealed text is version:u8 (1) | nonce:12 | ciphertext | tag:16, by AES-256-GCM with a random nonce.
const sealVersion = 1

// Seal encrypts a text with a key derived from the cluster's secret. Sealing the same text twice gives different bytes.
func Seal(key []byte, plain string) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead.Seal([]byte{sealVersion}, nil, []byte(plain), []byte{sealVersion}), nil
}

// Open decrypts what Seal gave. It fails when the key is another one or a bit has changed.
func Open(key, sealed []byte) (string, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return "", fmt.Errorf("open sealed secret: %w", err)
	}
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return "", errors.New("open sealed secret: not sealed by this version")
	}
	plain, err := aead.Open(nil, nil, sealed[1:], sealed[:1])
	if err != nil {
		return "", errors.New("open sealed secret: another key, or damaged")
	}
	return string(plain), nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) == 0 {
		return nil, errors.New("no key")
	}
	derived, err := hkdf.Key(sha256.New, key, nil, "canalgo sealed secret 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
