package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"canalgo/secret"
)

// The modes of coordination.
const (
	ModeRaft      = "raft"
	ModeZooKeeper = "zookeeper"
)

// Coordination is the section [coordination]: what elects the leader and keeps the cluster's state. It is not replicated.
type Coordination struct {
	Mode    string   `toml:"mode"`    // "raft", "zookeeper"
	Servers []string `toml:"servers"` // host:port of the ensemble's members
	// Chroot stands before every path, canal's too; "" for none.
	Chroot         string        `toml:"chroot"`
	Root           string        `toml:"root"` // of canalgo's own znodes, below Chroot
	User           string        `toml:"user"` // of the scheme digest; "" for none
	Password       secret.Value  `toml:"password"`
	SessionTimeout time.Duration `toml:"session_timeout"`
	TLS            bool          `toml:"tls"`
	CA             string        `toml:"ca"`        // path of a PEM file; "" for the system's
	Cert           string        `toml:"cert"`      // path of a client certificate's PEM file; "" for none
	Key            string        `toml:"key"`       // path of its key's
	Register       string        `toml:"register"`  // host:port among canal's servers; "" is the node's own host and port 11111
	ClientID       int16         `toml:"client_id"` // of canal's client whose cursor is that of the duties
}

// DefaultCoordination returns the section's defaults.
func DefaultCoordination() Coordination {
	return Coordination{Mode: ModeRaft, Root: "/canalgo", SessionTimeout: 10 * time.Second, ClientID: 1001}
}

// ZooKeeper reports whether an ensemble coordinates.
func (c Coordination) ZooKeeper() bool { return c.Mode == ModeZooKeeper }

// Validate says what is wrong with the settings by themselves, each error beginning with its key.
func (c Coordination) Validate() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	modes := []string{ModeRaft, ModeZooKeeper}
	if !slices.Contains(modes, c.Mode) {
		wrong("mode: %q is unknown; %s", c.Mode, didYouMean(c.Mode, modes))
		return errs
	}
	if !c.ZooKeeper() {
		if len(c.Servers) > 0 {
			wrong("mode: is %q, but servers are given; write mode = %q, or take them out", c.Mode, ModeZooKeeper)
		}
		return errs
	}
	if len(c.Servers) == 0 {
		wrong("servers: missing; name the members of the ensemble, for example [\"10.0.0.1:2181\"]")
	}
	for i, address := range c.Servers {
		if strings.Contains(address, "/") && !strings.Contains(address, "://") {
			wrong("servers[%d]: %q has a path; give it as chroot", i, address)
		} else if err := validPort(address, false); err != nil {
			wrong("servers[%d]: %w", i, err)
		}
	}
	if c.Chroot != "" {
		if err := validZnode(c.Chroot); err != nil {
			wrong("chroot: %w", err)
		}
	}
	if err := validZnode(c.Root); err != nil {
		wrong("root: %w", err)
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 5*time.Minute {
		wrong("session_timeout: want from 1s to 5m, got %s", c.SessionTimeout)
	}
	if c.Register != "" {
		if err := validPort(c.Register, false); err != nil {
			wrong("register: %w", err)
		} else if strings.Count(c.Register, ":") > 1 {
			wrong("register: %q must have a name or an IPv4 address: canal's clients take it apart at its colon", c.Register)
		}
	}
	if c.ClientID < 1 {
		wrong("client_id: want from 1 to 32767, got %d", c.ClientID)
	}
	switch {
	case c.User == "" && !c.Password.IsZero():
		wrong("user: missing, but password is given")
	case c.User != "" && c.Password.IsZero():
		wrong("password: missing, but user is given")
	case strings.Contains(c.User, ":"):
		wrong("user: %q must have no colon", c.User)
	}
	if !c.TLS && (c.CA != "" || c.Cert != "" || c.Key != "") {
		wrong("tls: is false, but ca, cert or key are given; write tls = true")
	}
	if _, err := c.TLSConfig(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// validZnode checks the path of a znode.
func validZnode(path string) error {
	if !strings.HasPrefix(path, "/") || path == "/" || strings.HasSuffix(path, "/") {
		return fmt.Errorf("want a path such as \"/canalgo\", without a slash at its end, got %q", path)
	}
	for name := range strings.SplitSeq(path[1:], "/") {
		if name == "" || name == "." || name == ".." || name == "zookeeper" && strings.HasPrefix(path, "/zookeeper") {
			return fmt.Errorf("%q cannot be the path of a znode", path)
		}
	}
	return nil
}

// TLSConfig returns how the ensemble is connected to, nil without TLS. Its errors begin with the key.
func (c Coordination) TLSConfig() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s has no certificate", c.CA)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("cert: needs key, and key needs cert")
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
