package config

import (
	"errors"
	"fmt"
	"time"

	"canalgo/secret"
)

// Canal is the section [canal_server]: how this host answers the clients of a canal server. It is not replicated.
type Canal struct {
	Listen         string       `toml:"listen"`          // host:port; "" answers none
	User           string       `toml:"user"`            // "" takes any
	Passwd         secret.Value `toml:"passwd"`          // itself, or the 40 hexadecimal digits of MySQL's PASSWORD(); "" takes any
	MaxConnections int          `toml:"max_connections"` // that have logged in
	Buffer         int          `toml:"buffer"`          // bytes that a client may have been given and not acknowledged
	BatchMode      string       `toml:"batch_mode"`      // "memsize", "itemsize": what the size counts that a client asks for
	DDLIsolation   bool         `toml:"ddl_isolation"`   // a DDL makes a batch of its own
	GTID           bool         `toml:"gtid"`            // headers carry GTIDs
	Timezone       string       `toml:"timezone"`        // of TIMESTAMP values; "" is the host's
}

// The values of batch_mode.
const (
	BatchMemSize  = "memsize"
	BatchItemSize = "itemsize"
)

// DefaultCanal returns the section's defaults.
func DefaultCanal() Canal {
	return Canal{MaxConnections: 32, Buffer: 16 << 20, BatchMode: BatchMemSize}
}

// The bounds of [canal_server].
const (
	maxCanalConnections = 1000
	minCanalBuffer      = 1 << 20
)

// Validate says what is wrong with the settings by themselves, each error beginning with its key.
func (c Canal) Validate() []error {
	var errs []error
	if c.Listen != "" {
		if err := validPort(c.Listen, true); err != nil {
			errs = append(errs, fmt.Errorf("listen: %w", err))
		}
	}
	if c.User != "" && c.Passwd.IsZero() {
		errs = append(errs, errors.New("passwd: missing; a user needs one, or leave both out and any client is served"))
	}
	if c.MaxConnections < 1 || c.MaxConnections > maxCanalConnections {
		errs = append(errs, fmt.Errorf("max_connections: want 1 to %d, got %d", maxCanalConnections, c.MaxConnections))
	}
	if c.Buffer < minCanalBuffer {
		errs = append(errs, fmt.Errorf("buffer: want at least %d bytes, got %d", minCanalBuffer, c.Buffer))
	}
	if c.BatchMode != BatchMemSize && c.BatchMode != BatchItemSize {
		errs = append(errs, fmt.Errorf("batch_mode: %q is unknown; %s", c.BatchMode, didYouMean(c.BatchMode, []string{BatchMemSize, BatchItemSize})))
	}
	if _, err := c.Zone(); err != nil {
		errs = append(errs, fmt.Errorf("timezone: %w", err))
	}
	return errs
}

// Zone is the time zone of TIMESTAMP values.
func (c Canal) Zone() (*time.Location, error) {
	if c.Timezone == "" {
		return time.Local, nil
	}
	if t, err := time.Parse("-07:00", c.Timezone); err == nil {
		return t.Location(), nil
	}
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil || c.Timezone == "Local" {
		return nil, fmt.Errorf("%q is unknown; want for example \"+08:00\" or \"Asia/Shanghai\", or \"\" for this host's", c.Timezone)
	}
	return zone, nil
}
