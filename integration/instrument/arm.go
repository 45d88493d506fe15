package instrument

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// A Process is an instrumented process that listens for what its failpoints are to do.
type Process struct {
	Address string // as CANALGO_FAILPOINTS says
}

// A State is what a failpoint of a process has done.
type State struct {
	Passed int    // how often it was passed since the start
	Acted  int    // of them, how often it did something
	Armed  string // the action; "" when there is none
}

// Arm arms a failpoint by a query as package failpoint describes it, such as "action=kill&skip=3".
func (p Process) Arm(ctx context.Context, name, query string) error {
	_, err := p.do(ctx, http.MethodPut, name+"?"+query)
	return err
}

// Disarm takes a failpoint's action away and releases what is blocked there.
func (p Process) Disarm(ctx context.Context, name string) error {
	_, err := p.do(ctx, http.MethodDelete, name)
	return err
}

// States returns every failpoint's state by its name.
func (p Process) States(ctx context.Context) (map[string]State, error) {
	data, err := p.do(ctx, http.MethodGet, "")
	if err != nil {
		return nil, err
	}
	var states map[string]State
	if err := json.Unmarshal(data, &states); err != nil {
		return nil, fmt.Errorf("failpoints at %s: %w", p.Address, err)
	}
	return states, nil
}

func (p Process) do(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.Address+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("failpoints at %s: %s %s: %s: %s", p.Address, method, path, answer.Status, data)
	}
	return data, nil
}
