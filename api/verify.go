package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"canalgo/verify"
)

type verifyBody struct {
	Duty   string `json:"duty"`
	Values bool   `json:"values,omitempty"`
}

// A verifyLine is one line of the answer: how far it is, and at the end what was found, or why nothing could be.
type verifyLine struct {
	Result verify.Result `json:"result"`
	Done   bool          `json:"done,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// lineEvery is how often the answer tells how far it is.
const lineEvery = 500 * time.Millisecond

// verify answers while it compares, for as long as the client listens. A node does this itself, whoever leads.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	var body verifyBody
	if !read(w, r, &body) {
		return
	}
	source, mapping, ok := cutDuty(w, body.Duty)
	if !ok {
		return
	}
	out := http.NewResponseController(w)
	var last time.Time
	send := func(line verifyLine) {
		last = time.Now()
		_ = out.SetWriteDeadline(last.Add(writeTimeout)) // whoever has gone away ends the request's context
		_ = json.NewEncoder(w).Encode(line)
		_ = out.Flush()
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	result, err := s.control.Verify(r.Context(), source, mapping, body.Values, func(result verify.Result) {
		if time.Since(last) > lineEvery {
			result.Differences = nil
			send(verifyLine{Result: result})
		}
	})
	if err != nil && last.IsZero() {
		finish(w, nil, err)
		return
	}
	line := verifyLine{Result: result, Done: true}
	if err != nil {
		line.Error = err.Error()
	}
	send(line)
}

// Verify compares the rows of "SOURCE/MAPPING" with its documents and calls progress now and then.
func (c *Client) Verify(ctx context.Context, duty string, values bool, progress func(verify.Result)) (verify.Result, error) {
	patient := &http.Client{Transport: c.http.Transport, CheckRedirect: c.http.CheckRedirect} // it may take hours
	response, err := c.send(ctx, patient, http.MethodPost, "/v1/verify", verifyBody{Duty: duty, Values: values})
	if err != nil {
		return verify.Result{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return verify.Result{}, refusal(response, data)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var line verifyLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return verify.Result{}, fmt.Errorf("the answer is not a node's: %w", err)
		}
		switch {
		case line.Error != "":
			return line.Result, &AnswerError{Code: http.StatusInternalServerError, Text: line.Error}
		case line.Done:
			return line.Result, nil
		}
		progress(line.Result)
	}
	if ctx.Err() != nil {
		return verify.Result{}, ctx.Err()
	}
	return verify.Result{}, fmt.Errorf("%w to the end at %s", ErrUnreachable, strings.TrimPrefix(c.base, "http://"))
}
