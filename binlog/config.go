package binlog

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"canalgo/event"
	"canalgo/secret"
)

// Config is a [source.NAME].
type Config struct {
	Addr        string       `toml:"addr" json:"addr"` // "host:port"
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

// TLS says how the connection to MySQL is protected.
type TLS struct {
	Mode       string `toml:"mode" json:"mode"`                         // "off", "preferred", "required"
	CA         string `toml:"ca" json:"ca,omitempty"`                   // path of a PEM file; "": the system's
	ServerName string `toml:"server_name" json:"server_name,omitempty"` // that the certificate must have; "": the host of addr
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
	return Config{Start: "current", Heartbeat: Duration(time.Second), ReadTimeout: Duration(3 * time.Second), TLS: TLS{Mode: "off"}}
}

// Secrets returns the secret settings by their key.
func (c *Config) Secrets() map[string]*secret.Value {
	return map[string]*secret.Value{"password": &c.Password}
}

// Validate returns what is wrong, each naming its key.
func (c Config) Validate() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch host, port, err := net.SplitHostPort(c.Addr); {
	case c.Addr == "":
		wrong(`addr: must be given, for example "127.0.0.1:3306"`)
	case strings.Contains(c.Addr, "://"):
		wrong("addr: %q must not carry a scheme; write HOST:PORT", c.Addr)
	case err != nil || host == "":
		wrong("addr: %q is not an address; write HOST:PORT", c.Addr)
	default:
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			wrong("addr: port %q must be a number from 1 to 65535", port)
		}
	}
	if c.User == "" {
		wrong("user: must be given")
	}
	for _, t := range c.Tables {
		if _, err := regexp.Compile(t); err != nil {
			wrong("tables: %q is not a regular expression: %s", t, err)
		}
	}
	if _, err := parseStart(c.Start); err != nil {
		wrong("start: %s", err)
	}
	switch c.TLS.Mode {
	case "off", "preferred", "required":
	default:
		wrong(`tls.mode: must be "off", "preferred" or "required", got %q`, c.TLS.Mode)
	}
	for key, path := range map[string]string{"tls.ca": c.TLS.CA, "tls.cert": c.TLS.Cert, "tls.key": c.TLS.Key} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			wrong("%s: %s", key, err)
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		wrong("tls.cert: a client certificate needs both cert and key")
	}
	if c.Heartbeat < Duration(100*time.Millisecond) {
		wrong("heartbeat: must be at least 100ms, got %s", time.Duration(c.Heartbeat))
	}
	if c.ReadTimeout < 2*c.Heartbeat {
		wrong("read_timeout: %s must be at least twice heartbeat %s, or every quiet moment looks like a dead source", time.Duration(c.ReadTimeout), time.Duration(c.Heartbeat))
	}
	return errs
}

// address returns host:port.
func (c Config) address() (string, error) {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return net.JoinHostPort(c.Addr, "3306"), nil
	}
	return c.Addr, nil
}

// filter returns which tables may be captured.
func (c Config) filter() (func(event.TableName) bool, error) {
	if len(c.Tables) == 0 {
		return func(event.TableName) bool { return true }, nil
	}
	var all []*regexp.Regexp
	for _, t := range c.Tables {
		re, err := regexp.Compile("^(?:" + t + ")$")
		if err != nil {
			return nil, fmt.Errorf("tables: %w", err)
		}
		all = append(all, re)
	}
	return func(n event.TableName) bool {
		for _, re := range all {
			if re.MatchString(n.String()) {
				return true
			}
		}
		return false
	}, nil
}

// config returns what the connection needs, nil when TLS is off. The caller sets the server's name when it is not given.
func (t TLS) config() (*tls.Config, error) {
	if t.Mode == TLSOff {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}
