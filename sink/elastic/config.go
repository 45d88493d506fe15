// Package elastic writes documents to Elasticsearch 7: whole documents with external versions through _bulk, every
// item's answer looked at. It keeps the destination's half of the ordinal rule (design: ordinals): a write that is older
// than what is there is refused by Elasticsearch and reported as a Conflict.
package elastic

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"canalgo/secret"
)

// Config is a [sink.NAME] of type "elasticsearch".
type Config struct {
	Addresses []string     `toml:"addresses" json:"addresses"` // "http://host:9200"; tried in turn
	User      string       `toml:"user" json:"user,omitempty"` // "" for none
	Password  secret.Value `toml:"password" json:"password,omitzero"`
	CA        string       `toml:"ca" json:"ca,omitempty"` // path of a PEM file; "" for the system's
	BulkBytes int          `toml:"bulk_bytes" json:"bulk_bytes"`
	BulkDocs  int          `toml:"bulk_docs" json:"bulk_docs"`
	InFlight  int          `toml:"in_flight" json:"in_flight"` // bulks of one duty
	Timeout   Duration     `toml:"timeout" json:"timeout"`     // of one request
	Shards    int          `toml:"shards" json:"shards"`       // of an index that is created
	Replicas  int          `toml:"replicas" json:"replicas"`   // of an index that is created
}

// Duration is a time.Duration that is written as text, "30s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with a unit, for example \"30s\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// Defaults returns the settings that a section starts with.
func Defaults() Config {
	return Config{BulkBytes: 4 << 20, BulkDocs: 5000, InFlight: 4, Timeout: Duration(30 * time.Second), Shards: 1, Replicas: 1}
}

// Secrets returns the secret settings by their key.
func (c *Config) Secrets() map[string]*secret.Value {
	return map[string]*secret.Value{"password": &c.Password}
}

// Validate returns what is wrong, each naming its key.
func (c Config) Validate() []error {
	var errs []error
	if len(c.Addresses) == 0 {
		errs = append(errs, errors.New(`addresses: must name at least one, for example ["http://127.0.0.1:9200"]`))
	}
	for _, a := range c.Addresses {
		u, err := url.Parse(a)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			if i := strings.LastIndexByte(a, '@'); i >= 0 {
				a = "***" + a[i:] // what stands before it may be a password
			}
			errs = append(errs, fmt.Errorf("addresses: %q is not an address; write http://HOST:PORT or https://HOST:PORT", a))
		case u.User != nil:
			errs = append(errs, errors.New("addresses: must not hold a password; use user and password"))
		}
	}
	positive := func(key string, n, most int) {
		if n < 1 || n > most {
			errs = append(errs, fmt.Errorf("%s: must be between 1 and %d, got %d", key, most, n))
		}
	}
	positive("bulk_bytes", c.BulkBytes, 64<<20)
	positive("bulk_docs", c.BulkDocs, 100_000)
	positive("in_flight", c.InFlight, 64)
	positive("shards", c.Shards, 1024)
	if c.Replicas < 0 {
		errs = append(errs, fmt.Errorf("replicas: must not be negative, got %d", c.Replicas))
	}
	if c.Timeout < Duration(time.Second) {
		errs = append(errs, fmt.Errorf("timeout: must be at least 1s, got %s", time.Duration(c.Timeout)))
	}
	return errs
}
