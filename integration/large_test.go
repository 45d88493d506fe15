//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// maxResident is what no node may ever have in memory, whatever passes.
const maxResident = 512 << 20

// largeWithin bounds how long what is large may take.
const largeWithin = 15 * time.Minute

// TestLarge passes through three nodes, each of which has a mapping: one transaction that is larger than a node's memory may be, a
// compressed one that is 10,000 times smaller in the log, and rows of 32 MB (M16, M17). A change of a row that is too large to be read
// holds its own mapping, by name, and a load cures it. make soak has 2 GiB and 1 GiB.
func TestLarge(t *testing.T) {
	r := newServers(t, "large", oracle.WorkloadConfig{}, "127.0.0.1:0")
	c := &trio{rig: r, indices: []string{"large_big", "large_zip", "large_row"}}
	sections := c.endpoints()
	for _, index := range c.indices {
		table := "large." + strings.TrimPrefix(index, "large_") + "s"
		r.must(r.db.Exec("CREATE TABLE " + table + " (id INT PRIMARY KEY, b LONGBLOB)"))
		sections += c.mapping(index, "", "select t.id as _id, t.id, t.b from "+table+" t")
	}
	var err error
	c.cluster, err = harness.NewCluster(filepath.Join(t.TempDir(), "canalgo"), 3, sections)
	r.must(err)
	r.must(r.es.CreateIndex(t.Context(), "large", map[string]any{})) // the rig deletes it
	c.watchOver()
	c.begin()
	c.whole()

	const rowBytes = 32 << 10
	big := often(32<<20, 2<<30) / rowBytes
	began := time.Now()
	r.must(r.db.Exec("SET SESSION cte_max_recursion_depth = 1000000", fmt.Sprintf("INSERT INTO large.bigs WITH RECURSIVE n (i) AS "+
		"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, REPEAT(UNHEX(SHA2(i, 256)), %d) FROM n", big, rowBytes/sha256.Size)))
	c.arrived("large_big", big, func(id int) []byte {
		sum := sha256.Sum256([]byte(strconv.Itoa(id)))
		text := hex.EncodeToString(sum[:])
		raw, _ := hex.DecodeString(text)
		return bytes.Repeat(raw, rowBytes/sha256.Size)
	})
	t.Logf("a transaction of %d MiB was there after %s", big*rowBytes>>20, time.Since(began).Round(time.Millisecond))

	const zipBytes = 1 << 20 // a row's
	zip := often(48<<20, 1<<30) / zipBytes
	before := c.logSize()
	began = time.Now()
	r.must(r.db.Exec("SET SESSION cte_max_recursion_depth = 1000000", "SET SESSION binlog_transaction_compression = ON", fmt.Sprintf("INSERT INTO large.zips WITH RECURSIVE n (i) AS "+
		"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, REPEAT('x', %d) FROM n", zip, zipBytes)))
	ratio := zip * zipBytes / (c.logSize() - before)
	if ratio < 10_000 {
		t.Errorf("compressed only %d times", ratio)
	}
	c.arrived("large_zip", zip, func(int) []byte { return bytes.Repeat([]byte{'x'}, zipBytes) })
	t.Logf("a compressed transaction of %d MiB, %d times smaller in the log, was there after %s", zip*zipBytes>>20, ratio, time.Since(began).Round(time.Millisecond))

	const rowSize = 32_000_000
	rows := often(1, 4)
	for id := 1; id <= rows; id++ {
		r.must(r.db.Exec(fmt.Sprintf("INSERT INTO large.rows VALUES (%d, REPEAT('y', %d))", id, rowSize)))
	}
	c.arrived("large_row", rows, func(int) []byte { return bytes.Repeat([]byte{'y'}, rowSize) })
	r.must(r.db.Exec(fmt.Sprintf("UPDATE large.rows SET b = REPEAT('z', %d) WHERE id = 1", rowSize))) // before and after: 64 MB
	c.holds("large_row", 1, bytes.Repeat([]byte{'z'}, rowSize))

	const tooLarge = 36_000_000 // before and after: above 64 MiB
	r.must(r.db.Exec(fmt.Sprintf("UPDATE large.rows SET b = REPEAT('v', %d) WHERE id = 1", tooLarge)))
	c.awaitReport("the mapping that cannot go on", func(report status.Report) bool {
		for _, d := range report.Duties {
			if d.ID == "shop/large_row" {
				return d.Stage == status.Stopped && strings.Contains(d.LastError, "large.rows") && strings.Contains(d.LastError, "more than the 67108864")
			}
			if d.Stage.Stuck() {
				t.Errorf("%s is %s: %s", d.ID, d.Stage, d.LastError)
			}
		}
		return false
	})
	r.must(r.db.Exec("DELETE FROM large.zips WHERE id = 1")) // the others go on
	c.arrivedCount("large_zip", zip-1)
	r.command(0, "load", "shop/large_row")
	c.holds("large_row", 1, bytes.Repeat([]byte{'v'}, tooLarge))
	c.awaitReport("the mapping goes on", func(report status.Report) bool { return following(report) && loaded(report) })
	r.must(r.db.Exec("INSERT INTO large.rows VALUES (1000, 'small')"))
	c.holds("large_row", 1000, []byte("small"))

	for _, n := range c.cluster.Nodes {
		peak := peakResident(t, n.PID())
		t.Logf("%s had at most %d MiB in memory", n.Name, peak>>20)
		if peak > maxResident {
			t.Errorf("%s had %d MiB in memory, want at most %d", n.Name, peak>>20, maxResident>>20)
		}
	}
	play(t, "a transaction of %d MiB, one of %d MiB compressed %d times, %d rows of 32 MB", big*rowBytes>>20, zip*zipBytes>>20, ratio, rows)
}

// logSize is the size of all binary logs.
func (r *rig) logSize() int {
	r.t.Helper()
	result, err := r.db.Query("SHOW BINARY LOGS")
	r.must(err)
	sum := 0
	for i := range result.Values {
		size, err := result.GetInt(i, 1)
		r.must(err)
		sum += int(size)
	}
	return sum
}

// arrived waits until an index has so many documents, and looks at some of them.
func (c *trio) arrived(index string, documents int, content func(id int) []byte) {
	c.t.Helper()
	c.arrivedCount(index, documents)
	for id := 1; id <= documents; id += max(1, documents/10) {
		c.holds(index, id, content(id))
	}
}

func (c *trio) arrivedCount(index string, documents int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), largeWithin)
	defer cancel()
	err := harness.Poll(ctx, func() error {
		if err := c.es.Refresh(ctx, index); err != nil {
			return err
		}
		n, err := c.es.Count(ctx, index)
		if err == nil && n != documents {
			err = fmt.Errorf("%d of %d documents", n, documents)
		}
		return err
	})
	if err != nil {
		c.t.Fatalf("%s: %v", index, err)
	}
}

// holds waits until a document has the bytes.
func (c *trio) holds(index string, id int, want []byte) {
	c.t.Helper()
	c.await(fmt.Sprintf("%s/%d", index, id), func() error {
		doc, found, err := c.es.Get(context.Background(), index, strconv.Itoa(id))
		if err != nil {
			return err
		}
		var source struct{ B []byte } // base64
		if !found || json.Unmarshal(doc.Source, &source) != nil || !bytes.Equal(source.B, want) {
			return fmt.Errorf("found %v, %d bytes that begin with %.20s; want %d that begin with %.20s", found, len(source.B),
				base64.StdEncoding.EncodeToString(source.B[:min(20, len(source.B))]), len(want), base64.StdEncoding.EncodeToString(want[:min(20, len(want))]))
		}
		return nil
	})
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakResident is the most that a process ever had in memory.
func peakResident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := peakLine.FindSubmatch(text)
	if m == nil {
		t.Fatalf("no peak in the status of process %d", pid)
	}
	kB, _ := strconv.Atoi(string(m[1]))
	return kB << 10
}
