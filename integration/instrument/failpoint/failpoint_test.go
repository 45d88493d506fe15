package failpoint_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/integration/instrument/failpoint"
)

// do asks the handler and returns the answer's body.
func do(t *testing.T, method, path string, status int) string {
	t.Helper()
	w := httptest.NewRecorder()
	failpoint.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, w.Code, status, body)
	}
	return string(body)
}

func TestErrorSkipsAndCounts(t *testing.T) {
	failpoint.Register("test.error")
	do(t, http.MethodPut, "/test.error?action=error&skip=1&count=2", http.StatusOK)
	var failed []bool
	for range 5 {
		var err error
		failpoint.Hit("test.error", &err)
		failed = append(failed, err != nil)
	}
	for i, want := range []bool{false, true, true, false, false} {
		if failed[i] != want {
			t.Errorf("pass %d failed: %t, want %t", i+1, failed[i], want)
		}
	}
	if got, want := failpoint.States()["test.error"], (failpoint.State{Passed: 5, Acted: 2, Armed: "error"}); got != want {
		t.Errorf("state %+v, want %+v", got, want)
	}
	do(t, http.MethodDelete, "/test.error", http.StatusOK)
	if got := do(t, http.MethodGet, "/", http.StatusOK); !strings.Contains(got, `"test.error":{"Passed":5,"Acted":2,"Armed":""}`) {
		t.Errorf("after it was disarmed: %s", got)
	}
}

func TestPanic(t *testing.T) {
	failpoint.Register("test.panic")
	do(t, http.MethodPut, "/test.panic?action=panic", http.StatusOK)
	defer func() {
		if got := recover(); got != "failpoint test.panic" {
			t.Errorf("panic %v", got)
		}
	}()
	failpoint.Hit("test.panic")
	t.Error("no panic")
}

func TestSleepAndBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failpoint.Register("test.wait")
		do(t, http.MethodPut, "/test.wait?action=sleep:200ms", http.StatusOK)
		began := time.Now()
		failpoint.Hit("test.wait")
		if got := time.Since(began); got != 200*time.Millisecond {
			t.Errorf("slept %s", got)
		}
		do(t, http.MethodPut, "/test.wait?action=block", http.StatusOK)
		passed := false
		go func() {
			failpoint.Hit("test.wait")
			passed = true
		}()
		synctest.Wait()
		if passed {
			t.Error("was not blocked")
		}
		do(t, http.MethodDelete, "/test.wait", http.StatusOK)
		synctest.Wait()
		if !passed {
			t.Error("was not released")
		}
	})
}

func TestWrongRequests(t *testing.T) {
	failpoint.Register("test.wrong")
	for _, c := range []struct{ path, want string }{
		{"/test.other?action=kill", `no failpoint is named "test.other"`},
		{"/test.wrong", "say action="},
		{"/test.wrong?action=explode", `"explode" is not one of`},
		{"/test.wrong?action=sleep:long", "want sleep:200ms"},
		{"/test.wrong?action=kill:now", "only sleep takes a time"},
		{"/test.wrong?action=kill&times=3", "times: is not one of"},
		{"/test.wrong?action=kill&skip=few", "skip: strconv.Atoi"},
	} {
		if got := do(t, http.MethodPut, c.path, http.StatusBadRequest); !strings.Contains(got, c.want) {
			t.Errorf("PUT %s: %q, want %q", c.path, got, c.want)
		}
	}
	do(t, http.MethodPost, "/test.wrong?action=kill", http.StatusMethodNotAllowed)
}
