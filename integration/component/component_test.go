//go:build integration

package component_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
)

func starting(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestMySQLKeepsDataAndPort(t *testing.T) {
	m, err := component.StartMySQL(starting(t), t.TempDir(), "--max-connections=77")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	if err := m.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, s TEXT)", "INSERT INTO d.t VALUES (1, 'ä😀')"); err != nil {
		t.Fatal(err)
	}
	addr := m.Addr()
	for name, end := range map[string]func() error{"Stop": m.Stop, "Kill": m.Kill} {
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.PID() != 0 {
			t.Errorf("%s left process %d", name, m.PID())
		}
		if err := m.Start(starting(t)); err != nil {
			t.Fatalf("start after %s: %v", name, err)
		}
	}
	if m.Addr() != addr {
		t.Errorf("address %s, was %s", m.Addr(), addr)
	}
	if out, err := exec.Command("sh", "-c", m.Client+" -N -e 'SELECT id FROM d.t'").CombinedOutput(); err != nil || string(out) != "1\n" {
		t.Errorf("the client says %q, %v", out, err)
	}
	r, err := m.Query("SELECT s, @@max_connections, @@gtid_mode, @@binlog_row_metadata FROM d.t")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"ä😀", "77", "ON", "FULL"} {
		if got, _ := r.GetString(0, i); got != want {
			t.Errorf("column %d: %q, want %q", i, got, want)
		}
	}

	c, err := m.ConnectAs(starting(t), component.CanalgoUser, component.CanalgoPassword)
	if err != nil {
		t.Fatalf("connect as canalgo: %v", err)
	}
	defer c.Close()
	if _, err := c.Execute("SHOW BINARY LOG STATUS"); err != nil {
		t.Error(err)
	}
	if _, err := c.Execute("INSERT INTO d.t VALUES (2, '')"); err == nil {
		t.Error("canalgo may write")
	}
}

// TestZooKeeperKeepsDataAndPort kills each member of an ensemble in turn: the others serve on, and it comes back.
func TestZooKeeperKeepsDataAndPort(t *testing.T) {
	z, err := component.StartZooKeeper(starting(t), t.TempDir(), component.ZooKeeperOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Kill() })
	for _, m := range z.Members {
		addr := m.Addr()
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		if m.PID() != 0 {
			t.Errorf("Kill left process %d", m.PID())
		}
		if err := m.Start(starting(t)); err != nil {
			t.Fatal(err)
		}
		if m.Addr() != addr {
			t.Errorf("address %s, was %s", m.Addr(), addr)
		}
	}
	if z.Leader() == nil {
		t.Error("nobody leads")
	}
}

func TestMariaDBKeepsDataAndPort(t *testing.T) {
	m, err := component.StartMariaDB(starting(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	if err := m.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, s TEXT)", "INSERT INTO d.t VALUES (1, 'ä😀')"); err != nil {
		t.Fatal(err)
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(starting(t)); err != nil {
		t.Fatal(err)
	}
	c, err := m.ConnectAs(starting(t), component.CanalgoUser, component.CanalgoPassword)
	if err != nil {
		t.Fatalf("connect as canalgo: %v", err)
	}
	defer c.Close()
	r, err := c.Execute("SELECT s, @@binlog_format, @@binlog_row_metadata, SUBSTRING_INDEX(VERSION(), '.', 2) FROM d.t")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"ä😀", "ROW", "FULL", "10.11"} {
		if got, _ := r.GetString(0, i); got != want {
			t.Errorf("column %d: %q, want %q", i, got, want)
		}
	}
	if _, err := c.Execute("SHOW MASTER STATUS"); err != nil {
		t.Error(err)
	}
	if _, err := c.Execute("INSERT INTO d.t VALUES (2, '')"); err == nil {
		t.Error("canalgo may write")
	}
}

func TestMySQLPause(t *testing.T) {
	m, err := component.StartMySQL(starting(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if c, err := m.ConnectAs(ctx, "root", ""); err == nil {
		c.Close()
		t.Error("a paused server greets")
	}
	if err := m.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := m.Exec("DO 1"); err != nil {
		t.Error(err)
	}
}

func TestMySQLUUIDsDiffer(t *testing.T) {
	var uuids []string
	for range 2 {
		m, err := component.StartMySQL(starting(t), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Kill() })
		r, err := m.Query("SELECT @@server_uuid")
		if err != nil {
			t.Fatal(err)
		}
		uuid, _ := r.GetString(0, 0)
		uuids = append(uuids, uuid)
	}
	if uuids[0] == uuids[1] {
		t.Errorf("two servers are both %s", uuids[0])
	}
}

func TestStartTellsWhyTheServerEnded(t *testing.T) {
	_, err := component.StartMySQL(starting(t), t.TempDir(), "--no-such-option=1")
	if err == nil {
		t.Fatal("a server with an unknown option started")
	}
	if got := err.Error(); !strings.Contains(got, "no-such-option") {
		t.Errorf("the error does not have the log's reason: %s", got)
	}
}

func TestElasticsearch(t *testing.T) {
	ctx := starting(t)
	e, err := component.StartElasticsearch(ctx, filepath.Join(t.TempDir(), "es"), component.ElasticsearchOptions{Heap: "512m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Kill() })
	if err := e.CreateIndex(ctx, "i", map[string]any{"settings": map[string]any{"number_of_replicas": 0}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Request(ctx, http.MethodPut, "/i/_doc/a%2Fb?version=7&version_type=external_gte", `{"x":1}`); err != nil {
		t.Fatal(err)
	}
	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	doc, found, err := e.Get(ctx, "i", "a/b")
	if err != nil || !found || doc.Version != 7 || string(doc.Source) != `{"x":1}` {
		t.Errorf("get: %+v %v %v", doc, found, err)
	}
	if _, found, err := e.Get(ctx, "i", "none"); found || err != nil {
		t.Errorf("a missing document: %v %v", found, err)
	}
	if err := e.Refresh(ctx, "i"); err != nil {
		t.Fatal(err)
	}
	if n, err := e.Count(ctx, "i"); n != 1 || err != nil {
		t.Errorf("count: %d %v", n, err)
	}
	var scanned []component.Document
	if err := e.Scan(ctx, "i", func(d component.Document) error { scanned = append(scanned, d); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(scanned) != 1 || scanned[0].ID != "a/b" || scanned[0].Version != 7 {
		t.Errorf("scan: %+v", scanned)
	}
	if err := e.PutSettings(ctx, "i", map[string]any{"index.refresh_interval": "5s"}); err != nil {
		t.Error(err)
	}
	if err := e.DeleteIndex(ctx, "i"); err != nil {
		t.Error(err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := e.Request(ctx, http.MethodGet, "/", nil); err == nil {
		t.Error("a stopped server answers")
	}
}

func TestElasticsearchWithSecurity(t *testing.T) {
	ctx := starting(t)
	e, err := component.StartElasticsearch(ctx, t.TempDir(), component.ElasticsearchOptions{User: "writer", Password: "a-secret", Heap: "512m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Kill() })
	if _, err := e.Request(ctx, http.MethodPut, "/i/_doc/1", `{}`); err != nil {
		t.Errorf("with the password: %v", err)
	}
	resp, err := http.Get(e.URL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: %d, want 401", resp.StatusCode)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("CANALGO_CACHE", "/a/b")
	if got, err := component.CacheDir(); got != "/a/b" || err != nil {
		t.Errorf("CANALGO_CACHE: %q %v", got, err)
	}
	os.Unsetenv("CANALGO_CACHE")
	t.Setenv("XDG_CACHE_HOME", "/x")
	if got, err := component.CacheDir(); got != "/x/canalgo" || err != nil {
		t.Errorf("XDG_CACHE_HOME: %q %v", got, err)
	}
}
