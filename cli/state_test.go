package cli_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"canalgo/cli"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/event"
)

func TestState(t *testing.T) {
	orders := cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}
	state := cluster.State{Duties: map[cluster.DutyID]cluster.Duty{orders: {Position: event.Position{File: "binlog.000007", Offset: 120}}}}
	p := cli.Program{
		Export: func(_ context.Context, file config.File) (cli.Carried, error) {
			if file.Cluster.Token.Reveal() != "0123456789abcdef" {
				return cli.Carried{}, errors.New("cluster.token: missing")
			}
			return cli.Carried{ClusterID: "id", Mode: "raft", Index: 8, State: state, Data: []byte("the state")}, nil
		},
		Import: func(_ context.Context, _ config.File, data []byte) (cli.Carried, error) {
			if string(data) != "the state" {
				return cli.Carried{}, errors.New("this is not a file of canalgo state export")
			}
			return cli.Carried{ClusterID: "id", Mode: "zookeeper", Index: 8, State: state}, nil
		},
	}
	file := filepath.Join(t.TempDir(), "state")
	if code, _, stderr := call(t, p, "state", "export", file, "-config", goodFile(t)); code != 3 || !strings.Contains(stderr, "cluster.token: missing") {
		t.Errorf("without a token: code %d, %q", code, stderr)
	}
	t.Setenv("CANALGO_TOKEN", "0123456789abcdef")
	code, stdout, stderr := call(t, p, "state", "export", file, "-config", goodFile(t))
	if code != 0 || !strings.Contains(stdout, "state of cluster id (raft), command 8\nposition of shop/orders: binlog.000007:120\n") {
		t.Errorf("export: code %d, %q, %q", code, stdout, stderr)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if code, _, stderr := call(t, p, "state", "export", file, "-config", goodFile(t)); code != 3 || !strings.Contains(stderr, "file exists") {
		t.Errorf("over a file: code %d, %q", code, stderr)
	}
	code, stdout, stderr = call(t, p, "state", "import", file, "-config", goodFile(t))
	if code != 0 || !strings.Contains(stdout, "that of a new cluster (zookeeper)") {
		t.Errorf("import: code %d, %q, %q", code, stdout, stderr)
	}
	for _, args := range [][]string{{"state"}, {"state", "export"}, {"state", "export", file}, {"state", "carry", file, "-config", goodFile(t)}} {
		if code, _, stderr := call(t, p, args...); code != 2 || !strings.Contains(stderr, "want canalgo state export STATE -config FILE") {
			t.Errorf("%v: code %d, %q", args, code, stderr)
		}
	}
}
