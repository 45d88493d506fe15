package node_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
)

// calls are the paths of what nodes ask each other.
var calls = []string{"/hello", "/join", "/promote", "/remove", "/session", "/propose", "/boundary", "/report", "/reach", "/retry", "/nothing"}

// FuzzCall asks a node that leads anything. Each call must be answered, with JSON or a sentence.
func FuzzCall(f *testing.F) {
	command, err := cluster.Encode(cluster.SetPaused{What: "source/shop", Paused: true})
	if err != nil {
		f.Fatal(err)
	}
	propose, err := json.Marshal(map[string]any{"command": command})
	if err != nil {
		f.Fatal(err)
	}
	for i, body := range []string{`{}`, `{"name":"n2","node":{"server_id":"n2@1","address":"nowhere","commands":1}}`, `{"name":"n2","server_id":"n2@1"}`,
		`{"name":"n2"}`, `{"name":"n2","server_id":"n2@1","stages":{"shop/user":"idle"},"failing":{"shop/user#load":5}}`, string(propose),
		`{"source":"shop","epoch":1}`, `{}`, `{"sink":"es"}`, `{"id":7,"applied":18446744073709551615}`, `[`} {
		f.Add(uint8(i), []byte(body))
	}
	n, _ := newNetwork().start(f, newWorld(), memory.New("n1").Member(0), "n1", seed(""))
	handler := n.Calls()
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // some wait for what never comes
		defer cancel()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, calls[int(path)%len(calls)], strings.NewReader(string(body))))
		switch got := answer.Body.Bytes(); {
		case answer.Code == http.StatusOK && !json.Valid(got):
			t.Errorf("answered with no JSON: %.100q", got)
		case answer.Code != http.StatusOK && len(got) == 0:
			t.Errorf("answered %d without a word", answer.Code)
		}
	})
}
