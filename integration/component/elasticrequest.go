package component

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// A StatusError is an answer of Elasticsearch other than 2xx.
type StatusError struct {
	Method, Path string
	Status       int
	Body         []byte
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d %.500s", e.Method, e.Path, e.Status, e.Body)
}

// Request sends a JSON body, or for a path ending in _bulk the lines of one, and returns the answer's body. The body may be
// nil, []byte, string, or anything that json.Marshal takes. An answer other than 2xx is a *StatusError.
func (e *Elasticsearch) Request(ctx context.Context, method, path string, body any) ([]byte, error) {
	var payload io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		payload = bytes.NewReader(b)
	case string:
		payload = bytes.NewReader([]byte(b))
	default:
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, e.URL()+path, payload)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if e.user != "" {
		req.SetBasicAuth(e.user, e.password)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err // it names method and address
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, &StatusError{Method: method, Path: path, Status: resp.StatusCode, Body: data}
	}
	return data, nil
}

// CreateIndex creates an index; body has its settings and mappings and may be nil.
func (e *Elasticsearch) CreateIndex(ctx context.Context, index string, body any) error {
	_, err := e.Request(ctx, http.MethodPut, "/"+url.PathEscape(index), body)
	return err
}

// DeleteIndex deletes an index; one that is missing is no error.
func (e *Elasticsearch) DeleteIndex(ctx context.Context, index string) error {
	_, err := e.Request(ctx, http.MethodDelete, "/"+url.PathEscape(index)+"?ignore_unavailable=true", nil)
	return err
}

// PutSettings changes an index's settings.
func (e *Elasticsearch) PutSettings(ctx context.Context, index string, settings any) error {
	_, err := e.Request(ctx, http.MethodPut, "/"+url.PathEscape(index)+"/_settings", settings)
	return err
}

// Refresh makes everything written to an index visible to Count and Scan.
func (e *Elasticsearch) Refresh(ctx context.Context, index string) error {
	_, err := e.Request(ctx, http.MethodPost, "/"+url.PathEscape(index)+"/_refresh", nil)
	return err
}

// Count returns the number of documents that a search sees.
func (e *Elasticsearch) Count(ctx context.Context, index string) (int, error) {
	data, err := e.Request(ctx, http.MethodGet, "/"+url.PathEscape(index)+"/_count", nil)
	if err != nil {
		return 0, err
	}
	var answer struct{ Count int }
	if err := json.Unmarshal(data, &answer); err != nil {
		return 0, fmt.Errorf("count %s: %w", index, err)
	}
	return answer.Count, nil
}

// A Document is one document with its version, as Elasticsearch has it.
type Document struct {
	ID      string          `json:"_id"`
	Routing string          `json:"_routing"`
	Version int64           `json:"_version"`
	Source  json.RawMessage `json:"_source"`
}

// Get returns one document, refreshed or not; found is false when it, or its index, does not exist.
func (e *Elasticsearch) Get(ctx context.Context, index, id string) (doc Document, found bool, err error) {
	data, err := e.Request(ctx, http.MethodGet, "/"+url.PathEscape(index)+"/_doc/"+url.PathEscape(id), nil)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return Document{}, false, nil
	}
	if err != nil {
		return Document{}, false, err
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return Document{}, false, fmt.Errorf("get %s/%s: %w", index, id, err)
	}
	return doc, true, nil
}

// Scan calls each for every document that a search sees, in no particular order, until it returns an error, which Scan
// returns.
func (e *Elasticsearch) Scan(ctx context.Context, index string, each func(Document) error) error {
	query := map[string]any{"size": 5000, "sort": []string{"_doc"}, "version": true}
	data, err := e.Request(ctx, http.MethodPost, "/"+url.PathEscape(index)+"/_search?scroll=2m", query)
	if err != nil {
		return err
	}
	var scroll string
	defer func() {
		if scroll != "" { // frees the search context early; it would end by itself
			e.Request(context.WithoutCancel(ctx), http.MethodDelete, "/_search/scroll", map[string]string{"scroll_id": scroll})
		}
	}()
	for {
		var page struct {
			Scroll string `json:"_scroll_id"`
			Hits   struct{ Hits []Document }
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return fmt.Errorf("scan %s: %w", index, err)
		}
		scroll = page.Scroll
		if len(page.Hits.Hits) == 0 {
			return nil
		}
		for _, doc := range page.Hits.Hits {
			if err := each(doc); err != nil {
				return err
			}
		}
		data, err = e.Request(ctx, http.MethodPost, "/_search/scroll", map[string]string{"scroll": "2m", "scroll_id": scroll})
		if err != nil {
			return err
		}
	}
}
