//go:build integration

package integration_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"canalgo/integration/oracle"
)

// TestVerify compares after random writes, and after each kind of difference was made by hand.
func TestVerify(t *testing.T) {
	r := newRig(t, "verified", oracle.WorkloadConfig{Keys: 8000, MaxRows: 500}, "initial")
	r.must(r.work.Fill(t.Context(), 6000))
	r.start()
	stop := r.run(r.work.Run)
	r.progress(3000)
	stop()
	r.must(r.db.Exec("INSERT INTO verified.acc (id, ver, writer, seq, bal, name, txt) VALUES (9001,1,0,0,1.5,'keep',''), (9002,1,0,0,1.5,'gone',''), (9003,1,0,0,1.5,'other','')"))
	r.equal()
	if out := r.command(0, "verify", "shop/verified"); !strings.Contains(out, " rows equal ") {
		t.Errorf("equal: %s", out)
	}
	for _, c := range []struct{ method, path, body string }{
		{http.MethodDelete, "/verified/_doc/9002", ""},
		{http.MethodPost, "/verified/_update/9003", `{"doc":{"name":"spoilt"}}`},
		{http.MethodPut, "/verified/_doc/77777", `{"id":77777}`},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		if _, err := r.es.Request(t.Context(), c.method, c.path, body); err != nil {
			t.Fatal(err)
		}
	}
	out := r.command(1, "verify", "shop/verified")
	for _, want := range []string{"missing    document 9002: of row id=9002\n", "different  document 9003 (version ", "field name, of row id=9003\n",
		"extra      document 77777 (version ", "1 missing, 1 extra, 1 different, 0 of which"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "spoilt") || strings.Contains(out, "other") {
		t.Errorf("values that nobody asked for:\n%s", out)
	}
	if out := r.command(1, "verify", "shop/verified", "-values"); !strings.Contains(out, `has "spoilt", should have "other"`) {
		t.Errorf("no values:\n%s", out)
	}

	r.command(2, "verify", "shop/nothing")
	r.command(0, "load", "shop/verified")
	r.await("the load", func() error { return r.compare().Err() })
	began := time.Now()
	if out := r.command(0, "verify", "shop/verified"); !strings.Contains(out, " rows equal ") {
		t.Errorf("after a load: %s", out)
	}
	t.Logf("verified in %s", time.Since(began).Round(time.Millisecond))
}
