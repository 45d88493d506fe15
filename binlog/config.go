package binlog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"canalgo/event"
	"canalgo/secret"
)

// Config is a [source.NAME].
type Config struct {
	Addr        string       `toml:"addr" json:"addr"`                 // "host:port"
	Standby     []string     `toml:"standby" json:"standby,omitempty"` // addresses of servers that may take over, in this order
	User        string       `toml:"user" json:"user"`
	Password    secret.Value `toml:"password" json:"password,omitzero"`
	TLS         TLS          `toml:"tls" json:"tls"`
	Schema      string       `toml:"schema" json:"schema,omitempty"`       // of tables that a mapping names without one
	Tables      []string     `toml:"tables" json:"tables,omitempty"`       // regular expressions of schema.table; empty: all
	Start       string       `toml:"start" json:"start"`                   // "current", "FILE:OFFSET" or a GTID set
	ServerID    uint32       `toml:"server_id" json:"server_id,omitempty"` // 0: derived from the cluster and the source
	Heartbeat   Duration     `toml:"heartbeat" json:"heartbeat"`           // of an idle server
	ReadTimeout Duration     `toml:"read_timeout" json:"read_timeout"`     // after which a silent server counts as gone
}

// The modes of TLS.
const (
	TLSOff       = "off"
	TLSPreferred = "preferred" // when the server offers it
	TLSRequired  = "required"
)

// TLS says how the connection is encrypted. With CA the server's certificate must be signed by it, with ServerName it must also
// carry that name; with neither nothing is verified. MySQL's own certificates carry no host name.
type TLS struct {
	Mode       string `toml:"mode" json:"mode"`                         // "off", "preferred", "required"
	CA         string `toml:"ca" json:"ca,omitempty"`                   // path of a PEM file; "": the system's, when ServerName is given
	ServerName string `toml:"server_name" json:"server_name,omitempty"` // that the certificate must have; "": any
	Cert       string `toml:"cert" json:"cert,omitempty"`               // path of a client certificate
	Key        string `toml:"key" json:"key,omitempty"`                 // path of its key
}

// Duration is a time.Duration that is written as text, "1s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with a unit, for example \"1s\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// Defaults returns the settings that a section starts with.
func Defaults() Config {
	return Config{Start: StartCurrent, Heartbeat: Duration(time.Second), ReadTimeout: Duration(2500 * time.Millisecond), TLS: TLS{Mode: TLSOff}}
}

// Secrets returns the secret settings by their key.
func (c *Config) Secrets() map[string]*secret.Value {
	return map[string]*secret.Value{"password": &c.Password}
}

// Validate returns what is wrong, each error beginning with its key.
func (c Config) Validate() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := c.address(); err != nil {
		wrong("addr: %w", err)
	}
	if addrs, err := c.addresses(); len(addrs) > 0 && err != nil {
		wrong("standby: %w", err)
	}
	if c.User == "" {
		wrong("user: must be given")
	}
	if _, err := c.Filter(); err != nil {
		wrong("tables: %w", err)
	}
	if _, err := parseStart(c.Start); err != nil {
		wrong("start: %w", err)
	}
	if c.Heartbeat < Duration(100*time.Millisecond) {
		wrong("heartbeat: must be at least 100ms, got %s", time.Duration(c.Heartbeat))
	}
	if c.ReadTimeout < 2*c.Heartbeat {
		wrong("read_timeout: %s must be at least twice heartbeat %s, or every quiet moment looks like a dead source",
			time.Duration(c.ReadTimeout), time.Duration(c.Heartbeat))
	}
	return append(errs, c.TLS.validate()...)
}

func (t TLS) validate() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch t.Mode {
	case TLSOff, TLSPreferred, TLSRequired:
	default:
		wrong("tls.mode: must be %q, %q or %q, got %q", TLSOff, TLSPreferred, TLSRequired, t.Mode)
	}
	if t.Mode != TLSRequired && (t.CA != "" || t.ServerName != "" || t.Cert != "") {
		wrong("tls.mode: is %q, but ca, server_name or cert are given; write %q, or whoever stands between can switch TLS off", t.Mode, TLSRequired)
	}
	if t.CA != "" {
		if _, err := readPool(t.CA); err != nil {
			wrong("tls.ca: %w", err)
		}
	}
	switch {
	case (t.Cert == "") != (t.Key == ""):
		wrong("tls.cert: a client certificate needs both cert and key")
	case t.Cert != "":
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			wrong("tls.cert: %w", err)
		}
	}
	return errs
}

// address returns host:port of Addr.
func (c Config) address() (string, error) { return hostPort(c.Addr) }

// addresses returns Addr and the standbys. An error about a standby comes with what stands before it.
func (c Config) addresses() ([]string, error) {
	addr, err := c.address()
	if err != nil {
		return nil, err
	}
	all := []string{addr}
	for _, standby := range c.Standby {
		if addr, err = hostPort(standby); err != nil {
			return all, err
		}
		if slices.Contains(all, addr) {
			return all, fmt.Errorf("%q is there twice; each server has an address of its own", standby)
		}
		all = append(all, addr)
	}
	return all, nil
}

func hostPort(addr string) (string, error) {
	switch {
	case addr == "":
		return "", errors.New(`must be given, for example "127.0.0.1:3306"`)
	case strings.ContainsAny(addr, " \t\r\n"):
		return "", fmt.Errorf("%q must not contain blanks", addr)
	case strings.Contains(addr, "://"):
		return "", fmt.Errorf("%q must not carry a scheme; write HOST:PORT", addr)
	case strings.Contains(addr, "/"):
		return "", fmt.Errorf("%q is not an address; write HOST:PORT", addr)
	case strings.Count(addr, ":") > 1 && !strings.HasPrefix(addr, "["):
		return "", fmt.Errorf("%q: an IPv6 address stands in brackets, for example \"[::1]:3306\"", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port, err = net.SplitHostPort(addr + ":3306")
	}
	if err != nil || host == "" {
		return "", fmt.Errorf("%q is not an address; write HOST:PORT", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("port %q must be a number from 1 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}

// SameAddress reports whether both name the same server in the same way.
func (c Config) SameAddress(o Config) bool {
	a, errA := c.address()
	b, errB := o.address()
	return errA == nil && errB == nil && a == b
}

// Filter returns what Tables lets through.
func (c Config) Filter() (func(event.TableName) bool, error) {
	if len(c.Tables) == 0 {
		return func(event.TableName) bool { return true }, nil
	}
	var expressions []*regexp.Regexp
	for _, text := range c.Tables {
		if _, err := regexp.Compile(text); err != nil {
			return nil, fmt.Errorf("%q is not a regular expression: %w", text, err)
		}
		expressions = append(expressions, regexp.MustCompile("^(?:"+text+")$"))
	}
	return func(t event.TableName) bool {
		name := t.String()
		for _, x := range expressions {
			if x.MatchString(name) {
				return true
			}
		}
		return false
	}, nil
}

// config returns nil when TLS is off.
func (t TLS) config() (*tls.Config, error) {
	if t.Mode == TLSOff {
		return nil, nil
	}
	// The standard verification insists on a name, which the certificates that MySQL makes for itself do not have.
	cfg := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	if t.CA != "" || t.ServerName != "" {
		var pool *x509.CertPool // nil is the system's
		if t.CA != "" {
			var err error
			if pool, err = readPool(t.CA); err != nil {
				return nil, fmt.Errorf("tls.ca: %w", err)
			}
		}
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{Roots: pool, DNSName: t.ServerName, Intermediates: x509.NewCertPool()}
			for _, cert := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func readPool(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}
