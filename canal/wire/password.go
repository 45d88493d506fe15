package wire

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// SeedSize is how many random bytes a server sends for the client to scramble its password with.
const SeedSize = 8

// A Password is what a server keeps of a client's password: SHA1(SHA1(password)), as MySQL 4.1 did.
type Password [sha1.Size]byte

// ParsePassword takes a password as canal's configuration has it, which is 40 hexadecimal digits, with MySQL's asterisk before them or without;
// anything else is the password itself.
func ParsePassword(text string) Password {
	if digits := strings.TrimPrefix(text, "*"); len(digits) == 2*sha1.Size {
		if stored, err := hex.DecodeString(digits); err == nil {
			return Password(stored)
		}
	}
	once := sha1.Sum([]byte(text))
	return sha1.Sum(once[:])
}

// Proves reports whether a client that was sent the seed knows the password: its token is SHA1(password) XOR SHA1(seed, SHA1(SHA1(password))), in
// hexadecimal digits.
func (p Password) Proves(seed, token []byte) bool {
	var once [sha1.Size]byte
	if n, err := hex.Decode(once[:], token[:min(len(token), 2*len(once))]); err != nil || n != len(once) || len(token) != 2*len(once) {
		return false
	}
	mask := sha1.Sum(append(append([]byte{}, seed...), p[:]...))
	for i := range once {
		once[i] ^= mask[i]
	}
	twice := sha1.Sum(once[:])
	return subtle.ConstantTimeCompare(twice[:], p[:]) == 1
}
