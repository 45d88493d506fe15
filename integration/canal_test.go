//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
)

// A canalEntry is what the Java client has of an entry. What the message does not have is nil.
type canalEntry struct {
	Header struct {
		Version       int      `json:"version"`
		LogfileName   string   `json:"logfileName"`
		LogfileOffset int64    `json:"logfileOffset"`
		ServerID      int64    `json:"serverId"`
		ServerenCode  string   `json:"serverenCode"`
		ExecuteTime   int64    `json:"executeTime"`
		SourceType    string   `json:"sourceType"`
		SchemaName    string   `json:"schemaName"`
		TableName     string   `json:"tableName"`
		EventLength   int64    `json:"eventLength"`
		EventType     *string  `json:"eventType"`
		GTID          *string  `json:"gtid"`
		Props         []string `json:"props"`
	} `json:"header"`
	EntryType     string     `json:"entryType"`
	ThreadID      int64      `json:"threadId"`
	TransactionID string     `json:"transactionId"`
	Props         []string   `json:"props"`
	TableID       *int64     `json:"tableId"`
	EventType     string     `json:"eventType"`
	IsDDL         *bool      `json:"isDdl"`
	SQL           *string    `json:"sql"`
	DDLSchemaName *string    `json:"ddlSchemaName"`
	Rows          []canalRow `json:"rows"`
}

type canalRow struct {
	Before []canalColumn `json:"before"`
	After  []canalColumn `json:"after"`
}

type canalColumn struct {
	Index     *int    `json:"index"`
	SQLType   int     `json:"sqlType"`
	Name      string  `json:"name"`
	IsKey     *bool   `json:"isKey"`
	Updated   *bool   `json:"updated"`
	IsNull    *bool   `json:"isNull"`
	Value     *string `json:"value"`
	Length    *int    `json:"length"`
	MySQLType string  `json:"mysqlType"`
	Props     int     `json:"props"`
}

// canalBatch is what a get gives.
type canalBatch struct {
	ID      int64        `json:"id"`
	Entries []canalEntry `json:"entries"`
	Keys    []string     `json:"keys"`
	Count   int          `json:"count"`
	Bytes   int          `json:"bytes"`
}

const canalPassword = "c4nal-pa55word"

// A canalNode is a canalgo that serves canal's clients from a source and writes nowhere.
type canalNode struct {
	*harness.Node
	address string // of canal's protocol
}

// startCanal starts a canalgo that serves destination shop. options go into [canal_server].
func startCanal(t *testing.T, db *component.MySQL, options string) *canalNode {
	t.Helper()
	address := freeAddress(t)
	node, err := harness.New(filepath.Join(t.TempDir(), "n1"), fmt.Sprintf(`[canal_server]
listen = %q
user = "canal"
passwd = %q
timezone = "+00:00"
%s
[source.shop]
addr = %q
user = "root"
`, address, canalPassword, options, db.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of its log:\n%s", node.LogTail(30))
		}
		node.Kill()
	})
	return &canalNode{Node: node, address: address}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A javaClient is canal's own client.
type javaClient struct {
	t *testing.T
	*component.CanalClient
}

func startJava(t *testing.T) javaClient {
	t.Helper()
	log := filepath.Join(t.TempDir(), "java.log")
	c, err := component.StartCanalClient(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return javaClient{t, c}
}

// do has the client do one thing after the other, and returns what the last one gave.
func (c javaClient) do(lines ...string) canalBatch {
	c.t.Helper()
	var b canalBatch
	for _, line := range lines {
		answer, err := c.Do(line)
		if err != nil {
			c.t.Fatalf("%s: %v", line, err)
		}
		b = canalBatch{}
		if err := json.Unmarshal(answer, &b); err != nil {
			c.t.Fatalf("%s: %v in %.300s", line, err, answer)
		}
	}
	return b
}

// fails has the client do what must throw, with a text in it.
func (c javaClient) fails(line, want string) {
	c.t.Helper()
	answer, err := c.Do(line)
	if err == nil {
		c.t.Fatalf("%s: gives %.300s, want an error with %q", line, answer, want)
	}
	if !strings.Contains(err.Error(), want) {
		c.t.Fatalf("%s: %v, want an error with %q", line, err, want)
	}
}

// connector is the line that makes a simple connector to a node.
func (n *canalNode) connector() string {
	return fmt.Sprintf("simple %s shop canal %s", n.address, canalPassword)
}

// serves waits until the node leads.
func (n *canalNode) serves(t *testing.T) {
	t.Helper()
	awaits(t, "a leader", func() error {
		r, err := n.Status(t.Context())
		if err == nil && r.Leader == "" {
			err = fmt.Errorf("no leader")
		}
		return err
	})
}

// awaits waits until check gives nil.
func awaits(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := harness.Poll(ctx, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// collect gets and acknowledges until enough says so of all entries.
func (c javaClient) collect(enough func([]canalEntry) bool) []canalEntry {
	c.t.Helper()
	var all []canalEntry
	for deadline := time.Now().Add(30 * time.Second); !enough(all); {
		b := c.do("get 1000 200")
		all = append(all, b.Entries...)
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(all, "", " ")
			c.t.Fatalf("after 30 s there are only %d entries: %.2000s", len(all), text)
		}
	}
	return all
}

// TestCanal has canal's own Java client read from canalgo.
func TestCanal(t *testing.T) {
	db := ownServer(t, "--binlog-rows-query-log-events=OFF")
	for name, test := range map[string]func(*testing.T, *component.MySQL){
		"Types": canalTypes, "Calls": canalCalls, "Statements": canalStatements, "GTIDs": canalGTIDs, "Restart": canalRestart, "Large": canalLarge, "Images": canalImages, "ChangesOfJSON": canalChangesOfJSON,
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, db, "DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop")
			test(t, db)
		})
	}
}
