package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"canalgo/api"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/verify"
)

var _ api.Control = (*control)(nil)

// control lets the API act on the node; what files and sections are is known only here.
type control struct {
	*node.Node
	key []byte // of the cluster's secrets
}

// Apply implements api.Control.
func (c *control) Apply(ctx context.Context, file config.File, dryRun bool) (api.Applied, error) {
	now := c.View().Config
	next, err := file.ToCluster(c.key)
	if err != nil {
		return api.Applied{}, err
	}
	changes, err := config.Diff(c.key, now, next)
	if err != nil {
		return api.Applied{}, err
	}
	out := api.Applied{Version: now.Version, Changes: changes, NeedLoad: needLoad(now, next)}
	if dryRun || len(changes) == 0 {
		return out, nil
	}
	if next, err = config.Keep(c.key, now, next); err != nil {
		return out, err
	}
	if err := c.SetConfig(ctx, now.Version, next); err != nil {
		return out, refused(err)
	}
	out.Version = now.Version + 1
	return out, nil
}

// needLoad lists the mappings whose rule changed: a new rule applies from now on, older documents stay as they are.
func needLoad(now, next cluster.Config) []string {
	var out []string
	for name, m := range next.Mappings {
		if was, ok := now.Mappings[name]; ok && !sameRule(was, m) {
			out = append(out, m.Source+"/"+name)
		}
	}
	return out
}

// sameRule reports whether two forms of a mapping make the same documents.
func sameRule(a, b cluster.MappingConfig) bool {
	was, err1 := config.DecodeMapping(nil, a) // a mapping has no secrets
	is, err2 := config.DecodeMapping(nil, b)
	was.Quarantine = is.Quarantine
	return err1 == nil && err2 == nil && reflect.DeepEqual(was.Config, is.Config)
}

// StartLoad implements api.Control.
func (c *control) StartLoad(ctx context.Context, source, name string, part *api.Part) error {
	where := ""
	if part != nil {
		var err error
		if where, err = c.condition(source, name, part.Params); err != nil {
			return err
		}
	}
	_, err := c.Node.StartLoad(ctx, source, name, where)
	return refused(err)
}

// condition is the etlCondition of a mapping with its parameters.
func (c *control) condition(source, name string, params []string) (string, error) {
	v := c.View()
	m, ok := v.Config.Mappings[name]
	if !ok || m.Source != source {
		return "", refused(fmt.Errorf("mapping %s of source %s: %w", name, source, node.ErrNotFound))
	}
	section, err := config.DecodeMapping(c.key, m)
	if err != nil {
		return "", err
	}
	from, err := config.DecodeSource(c.key, v.Config.Sources[source])
	if err != nil {
		return "", err
	}
	compiled, err := mapping.Compile(name, section.Config, from.Schema)
	if err != nil {
		return "", err
	}
	where, err := compiled.LoadCondition(params)
	if err != nil {
		return "", refused(fmt.Errorf("mapping %s: %w", name, err))
	}
	return where, nil
}

// Verify implements api.Control.
func (c *control) Verify(ctx context.Context, source, mapping string, values bool, progress func(verify.Result)) (verify.Result, error) {
	result, err := c.Node.Verify(ctx, source, mapping, values, progress)
	if errors.Is(err, node.ErrNotFound) {
		err = refused(err)
	}
	return result, err
}

// SetPaused implements api.Control.
func (c *control) SetPaused(ctx context.Context, what string, paused bool) error {
	return refused(c.Node.SetPaused(ctx, what, paused))
}

// Quarantine implements api.Control.
func (c *control) Quarantine(context.Context) ([]cluster.Quarantined, error) {
	return c.Node.Quarantine(), nil
}

// RetryQuarantine implements api.Control.
func (c *control) RetryQuarantine(ctx context.Context, ids []uint64) (int, error) {
	n, err := c.Node.RetryQuarantine(ctx, ids)
	return n, refused(err)
}

// Leader implements api.Control.
func (c *control) Leader() (string, bool) {
	v := c.View()
	return v.LeaderAddress, v.Leading
}

// Rewind implements api.Control.
func (c *control) Rewind(ctx context.Context, source, start string) (string, error) {
	at, err := c.Node.Rewind(ctx, source, start)
	return at.String(), refused(err)
}

// Remove implements api.Control.
func (c *control) Remove(ctx context.Context, name string) error {
	return refused(c.Node.Remove(ctx, name))
}

// refused says whose fault an error is.
func refused(err error) error {
	switch {
	case errors.Is(err, node.ErrNotFound):
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, cluster.ErrNotLeader), err == nil:
		return err
	}
	return fmt.Errorf("%w: %w", api.ErrRefused, err)
}
