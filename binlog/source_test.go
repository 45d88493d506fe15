package binlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/hashicorp/go-hclog"

	"canalgo/event"
)

func valid() Config {
	c := Defaults()
	c.Addr, c.User = "127.0.0.1", "canal"
	return c
}

func TestConfigValidate(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // beginning of the only error; "" for none
	}{
		"default port":       {func(c *Config) {}, ""},
		"IPv6":               {func(c *Config) { c.Addr = "[::1]:3307" }, ""},
		"GTIDs":              {func(c *Config) { c.Start = testServer.String() + ":1-5:7" }, ""},
		"file":               {func(c *Config) { c.Start = "mysql-bin.1000000:4" }, ""},
		"time":               {func(c *Config) { c.Start = "2026-02-28T23:59:59.5+01:00" }, ""},
		"time without zone":  {func(c *Config) { c.Start = "2026-02-28 23:59:59" }, "start: \"2026-02-28 23:59:59\" is not \"current\""},
		"no addr":            {func(c *Config) { c.Addr = "" }, "addr: must be given"},
		"scheme":             {func(c *Config) { c.Addr = "http://db:3306" }, "addr: \"http://db:3306\" must not carry a scheme"},
		"blank":              {func(c *Config) { c.Addr = "db:3306 " }, "addr: \"db:3306 \" must not contain blanks"},
		"IPv6 without":       {func(c *Config) { c.Addr = "::1" }, "addr: \"::1\": an IPv6 address stands in brackets"},
		"port":               {func(c *Config) { c.Addr = "db:0" }, "addr: port \"0\" must be"},
		"no host":            {func(c *Config) { c.Addr = ":3306" }, "addr: \":3306\" is not an address"},
		"standby":            {func(c *Config) { c.Standby = []string{"db2:3307", "[::1]"} }, ""},
		"standby, bad port":  {func(c *Config) { c.Standby = []string{"db2", "db3:x"} }, "standby: port \"x\" must be"},
		"standby, twice":     {func(c *Config) { c.Standby = []string{"127.0.0.1:3306"} }, "standby: \"127.0.0.1:3306\" is there twice"},
		"standby, no addr":   {func(c *Config) { c.Addr, c.Standby = "", []string{"db"} }, "addr: must be given"},
		"no user":            {func(c *Config) { c.User = "" }, "user: must be given"},
		"expression":         {func(c *Config) { c.Tables = []string{"shop.x", "orders_["} }, "tables: \"orders_[\" is not a regular expression: error parsing regexp: missing closing ]"},
		"start":              {func(c *Config) { c.Start = "yesterday" }, "start: \"yesterday\" is not \"current\""},
		"no start":           {func(c *Config) { c.Start = "" }, "start: \"\" is not \"current\""},
		"GTIDs, cut short":   {func(c *Config) { c.Start = testServer.String() + ":1-" }, "start: "},
		"file, no number":    {func(c *Config) { c.Start = "binlog:4" }, "start: "},
		"file, in the magic": {func(c *Config) { c.Start = "binlog.000001:3" }, "start: \"binlog.000001:3\": the first event of a file stands at 4"},
		"heartbeat":          {func(c *Config) { c.Heartbeat = 0 }, "heartbeat: must be at least 100ms"},
		"timers":             {func(c *Config) { c.Heartbeat, c.ReadTimeout = Duration(5*time.Second), Duration(5*time.Second) }, "read_timeout: 5s must be at least twice heartbeat 5s"},
		"TLS mode":           {func(c *Config) { c.TLS.Mode = "on" }, "tls.mode: must be \"off\", \"preferred\" or \"required\", got \"on\""},
		"CA without TLS":     {func(c *Config) { c.TLS.ServerName = "db" }, "tls.mode: is \"off\", but"},
		"CA is not there":    {func(c *Config) { c.TLS = TLS{Mode: TLSRequired, CA: "/nonexistent"} }, "tls.ca: open /nonexistent"},
		"CA is none":         {func(c *Config) { c.TLS = TLS{Mode: TLSRequired, CA: notPEM} }, "tls.ca: " + notPEM + " holds no PEM certificate"},
		"half a pair":        {func(c *Config) { c.TLS = TLS{Mode: TLSRequired, Cert: notPEM} }, "tls.cert: a client certificate needs both"},
	} {
		cfg := valid()
		c.change(&cfg)
		errs := cfg.Validate()
		switch {
		case c.want == "" && len(errs) > 0:
			t.Errorf("%s: %v", name, errs)
		case c.want != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), c.want)):
			t.Errorf("%s: %q, want %q", name, errs, c.want)
		}
		if _, err := New(cfg, "c", "n", hclog.NewNullLogger()); (err == nil) != (c.want == "") {
			t.Errorf("%s: New gives %v", name, err)
		}
	}
}

func TestConfigFilter(t *testing.T) {
	cfg := valid()
	cfg.Tables = []string{`shop\..*`, `x\.y|x\.z`}
	filter, err := cfg.Filter()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[event.TableName]bool{
		{Schema: "shop", Name: "orders"}: true, {Schema: "ashop", Name: "orders"}: false, {Schema: "x", Name: "y"}: true, {Schema: "x", Name: "yy"}: false, {Schema: "xx", Name: "z"}: false,
	} {
		if filter(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"8.0.36-log": "SHOW MASTER STATUS", "8.1.0": "SHOW MASTER STATUS", "8.2.0": "SHOW BINARY LOG STATUS", "8.4.3": "SHOW BINARY LOG STATUS",
		"9.7.4-2": "SHOW BINARY LOG STATUS", "10.1": "SHOW BINARY LOG STATUS", "26.1.0": "SHOW BINARY LOG STATUS", "8.10.0": "SHOW BINARY LOG STATUS", "": "SHOW MASTER STATUS",
	} {
		if got := statusStatement(version); got != want {
			t.Errorf("%s: %s", version, got)
		}
	}
}

func TestFileOrder(t *testing.T) {
	names := []string{"binlog.1000000", "binlog.000010", "binlog.999999", "binlog.000009"}
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case fileBefore(a, b):
			return -1
		case fileBefore(b, a):
			return 1
		}
		return 0
	})
	if want := []string{"binlog.000009", "binlog.000010", "binlog.999999", "binlog.1000000"}; !slices.Equal(names, want) {
		t.Errorf("order %v", names)
	}
}

func TestFileAmong(t *testing.T) {
	files := []LogFile{{"binlog.000010", 500}, {"binlog.000011", 200}}
	for p, want := range map[event.Position]error{
		{File: "binlog.000010", Offset: 500}: nil, {File: "binlog.000011", Offset: 4}: nil,
		{File: "binlog.000009", Offset: 4}: ErrPurged, {File: "binlog.000012", Offset: 4}: ErrReset, {File: "binlog.000011", Offset: 201}: ErrReset,
	} {
		if err := fileAmong(files, p); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", p, err, want)
		}
	}
	if err := fileAmong(nil, event.Position{File: "binlog.000001", Offset: 4}); !errors.Is(err, ErrReset) {
		t.Errorf("no files: %v", err)
	}
}

func TestReplicaID(t *testing.T) {
	source := func(cluster, name string, id uint32) *Source {
		cfg := valid()
		cfg.ServerID = id
		s, err := New(cfg, cluster, name, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	id, replica := source("c", "shop", 0).replicaID("shared", 1)
	if again, same := source("c", "shop", 0).replicaID("shared", 1); again != id || same != replica {
		t.Error("another node gets another id")
	}
	if avoided, same := source("c", "shop", 0).replicaID("shared", id); avoided == id || avoided == 0 || same != replica {
		t.Errorf("the server's own id %d is used", id)
	}
	if fixed, same := source("c", "shop", 77).replicaID("shared", 1); fixed != 77 || same != replica {
		t.Errorf("id %d, want the configured one", fixed)
	}
	for _, other := range []struct{ cluster, name, stream string }{{"d", "shop", "shared"}, {"c", "shop2", "shared"}, {"c", "shop", "catch-up"}, {"c", "sho", "pshared"}} {
		if otherID, otherReplica := source(other.cluster, other.name, 0).replicaID(other.stream, 1); otherReplica == replica || otherID == id {
			t.Errorf("%v has the same id", other)
		}
	}
}

func TestExtend(t *testing.T) {
	for _, c := range []struct {
		before uint64
		end    uint32
		want   uint64
	}{{4, 126, 126}, {1<<32 - 10, 50, 1<<32 + 50}, {1<<32 + 50, 90, 1<<32 + 90}, {3<<32 - 1, 0, 3 << 32}} {
		if got := extend(c.before, c.end); got != c.want {
			t.Errorf("extend(%d, %d) = %d, want %d", c.before, c.end, got, c.want)
		}
	}
}

// TestDumpErrors: the reasons with which a server ends a dump share error 1236; each decides what follows (M19, M20).
func TestDumpErrors(t *testing.T) {
	for text, want := range map[string]error{
		"Could not find first log file name in binary log index file":                        ErrPurged,
		"Cannot replicate because the source purged required binary logs. Missing ... 'x:1'": ErrPurged,
		"Replica has more GTIDs than the source has":                                         ErrReset,
		"Client requested source to start replication from position > file size":             ErrReset,
		"bogus data in log event; the first event":                                           ErrReset,
	} {
		if err := dumpError(mysql.NewError(mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG, text)); !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, again := range []error{mysql.NewError(mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG, "could not find next log"),
		mysql.NewError(mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG, "A replica with the same server_uuid/server_id as this replica has connected to the source"),
		mysql.NewError(mysql.ER_ACCESS_DENIED_ERROR, "purged required binary logs"), errors.New("broken pipe")} {
		if err := dumpError(again); Lost(err) || !errors.Is(err, again) {
			t.Errorf("%v: %v is not worth another try", again, err)
		}
	}
}

// feedFrame gives a packet to a frame in pieces of n bytes.
func feedFrame(f *frame, packet []byte, n int) {
	f.data, f.size = nil, 0
	for chunk := range slices.Chunk(packet, n) {
		_, _ = f.Write(chunk)
	}
}

func TestFrame(t *testing.T) {
	l := newFakeLog("binlog.000009")
	raw := l.rows(typeWriteRows, 1, fakeRow{1, strings.Repeat("x", 40000)})
	var f frame
	feedFrame(&f, append([]byte{0}, raw...), 16<<10)
	if f.status != 0 || f.size != len(raw)+1 || !bytes.Equal(f.data, raw) {
		t.Errorf("status %d, %d bytes, size %d", f.status, len(f.data), f.size)
	}
	if cap(f.data) > len(raw)+8192 {
		t.Errorf("%d bytes of memory for %d", cap(f.data), len(raw))
	}
	large := bytes.Clone(raw)
	binary.LittleEndian.PutUint32(large[9:], maxEvent+1)
	feedFrame(&f, append([]byte{0}, large...), 16<<10)
	if f.size != len(raw)+1 || len(f.data) > 4*oversizedHead+1024 || !bytes.Equal(f.data, large[:len(f.data)]) {
		t.Errorf("oversized: %d bytes kept", len(f.data))
	}
	feedFrame(&f, append([]byte{mysql.ERR_HEADER}, "no"...), 16<<10)
	if f.status != mysql.ERR_HEADER || string(f.data) != "no" {
		t.Errorf("error packet: %d %q", f.status, f.data)
	}
}

func TestChecksums(t *testing.T) {
	sum := func(raw []byte) []byte {
		raw = append(bytes.Clone(raw), 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
		binary.LittleEndian.PutUint32(raw[len(raw)-4:], crc32.ChecksumIEEE(raw[:len(raw)-4]))
		return raw
	}
	l := newFakeLog("binlog.000009")
	var d dump
	plain := l.rows(typeWriteRows, 1, fakeRow{1, "x"})
	if got, err := d.verify(bytes.Clone(plain)); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("without checksums: %v", err)
	}
	format := l.format()
	format[len(format)-5] = 1
	binary.LittleEndian.PutUint32(format[len(format)-4:], crc32.ChecksumIEEE(format[:len(format)-4]))
	if got, err := d.verify(format); err != nil || len(got) != len(format) {
		t.Fatalf("format description: %v", err)
	}
	if got, err := d.verify(sum(plain)); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("with a checksum: %x, %v, want %x", got, err, plain)
	}
	for i := range plain {
		if i >= 9 && i < 13 {
			continue // the size, which next has compared
		}
		damaged := sum(plain)
		damaged[i] ^= 0x10
		if _, err := d.verify(damaged); err == nil || Lost(err) {
			t.Errorf("byte %d damaged: %v", i, err)
		}
	}
}

func TestBehind(t *testing.T) {
	p := &progress{status: Status{Position: event.Position{File: "binlog.000008", Offset: 300}, End: event.Position{File: "binlog.000010", Offset: 50}},
		files: []LogFile{{"binlog.000007", 1000}, {"binlog.000008", 400}, {"binlog.000009", 70}, {"binlog.000010", 40}}}
	if b, f := p.behind(); b != 100+70+50 || f != 2 {
		t.Errorf("%d bytes, %d files", b, f)
	}
	p.status.Position = event.Position{File: "binlog.000010", Offset: 20}
	if b, f := p.behind(); b != 30 || f != 0 {
		t.Errorf("%d bytes, %d files", b, f)
	}
	p.status.Position.Offset = 60
	if b, _ := p.behind(); b != 0 {
		t.Errorf("%d bytes ahead", b)
	}
}
