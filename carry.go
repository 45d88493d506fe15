package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"canalgo/cli"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/folder"
	"canalgo/raftfsm"
	"canalgo/zkmode"
)

// carriedFormat is the version of the file that carries a state.
const carriedFormat = 1

// A carried is that file: JSON, with the state as cluster.EncodeSnapshot writes it. Passwords in it stay sealed by the token.
type carried struct {
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	Mode      string `json:"mode"`
	Index     uint64 `json:"index"`
	Proof     string `json:"proof"` // of the token: another one could open no password
	State     []byte `json:"state"`
}

// prove lets a token be compared with that of a state.
func prove(token []byte, clusterID string) string {
	mac := hmac.New(sha256.New, token)
	mac.Write([]byte("canalgo state " + clusterID))
	return hex.EncodeToString(mac.Sum(nil))
}

// exportState reads the state of a stopped cluster.
func exportState(ctx context.Context, file config.File) (cli.Carried, error) {
	found, token, err := carrier(file)
	if err != nil {
		return cli.Carried{}, err
	}
	c := cli.Carried{ClusterID: found.ClusterID, Mode: file.Coordination.Mode}
	if file.Coordination.ZooKeeper() {
		cfg, err := ensemble(file.Coordination)
		if err != nil {
			return c, err
		}
		cfg.Secret = token
		if c.State, c.ClusterID, c.Index, err = zkmode.Export(ctx, cfg); err != nil {
			return c, err
		}
	} else if c.State, c.Index, err = raftfsm.Export(file.Node.Data); err != nil {
		return c, err
	}
	state, err := cluster.EncodeSnapshot(c.State)
	if err != nil {
		return c, err
	}
	c.Data, err = json.Marshal(carried{Format: carriedFormat, ClusterID: c.ClusterID, Mode: c.Mode, Index: c.Index, Proof: prove(token, c.ClusterID), State: state})
	return c, err
}

// importState makes a cluster with a state that exportState has read.
func importState(ctx context.Context, file config.File, data []byte) (cli.Carried, error) {
	var from carried
	if err := json.Unmarshal(data, &from); err != nil {
		return cli.Carried{}, fmt.Errorf("this is not a file of canalgo state export: %w", err)
	}
	if from.Format != carriedFormat {
		return cli.Carried{}, fmt.Errorf("the state has format %d, this version of canalgo reads %d", from.Format, carriedFormat)
	}
	_, token, err := carrier(file)
	if err != nil {
		return cli.Carried{}, err
	}
	if !hmac.Equal([]byte(from.Proof), []byte(prove(token, from.ClusterID))) {
		return cli.Carried{}, errors.New("cluster.token: another one than that of the cluster which the state comes from; passwords in it could not be opened")
	}
	state, err := cluster.DecodeSnapshot(from.State)
	if err != nil {
		return cli.Carried{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(state.Nodes)) { // they come in anew
		if state, err = state.Apply(cluster.RemoveNode{Name: name, ServerID: state.Nodes[name].ServerID}); err != nil {
			return cli.Carried{}, err
		}
	}
	c := cli.Carried{ClusterID: from.ClusterID, Mode: file.Coordination.Mode, Index: from.Index, State: state}
	if file.Coordination.ZooKeeper() {
		cfg, err := ensemble(file.Coordination)
		if err != nil {
			return c, err
		}
		cfg.Secret = token
		return c, zkmode.Import(ctx, cfg, state)
	}
	name := file.Node.Name
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return c, fmt.Errorf("node.name: %w", err)
		}
	}
	return c, raftfsm.Import(raftfsm.Config{Dir: file.Node.Data, NodeID: name, Secret: token}, state)
}

// carrier returns what the data folder says, and the token: that of the folder, or the given one.
func carrier(file config.File) (folder.Found, []byte, error) {
	found, err := folder.Look(file.Node.Data)
	if err != nil {
		return found, nil, fmt.Errorf("node.data: %w", err)
	}
	given := []byte(file.Cluster.Token.Reveal())
	switch {
	case len(given) > 0:
		return found, given, nil
	case len(found.Secret) > 0:
		return found, found.Secret, nil
	}
	return found, nil, errors.New("cluster.token: missing; give that of the cluster, by -token, $CANALGO_TOKEN or the file")
}
