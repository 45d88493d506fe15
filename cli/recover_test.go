package cli_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"canalgo/cli"
	"canalgo/cluster"
	"canalgo/event"
)

func TestRecover(t *testing.T) {
	var asked []bool
	p := cli.Program{Recover: func(data string, yes bool) (cli.Remnant, error) {
		if data != "/var/lib/canalgo" {
			return cli.Remnant{}, errors.New("data folder " + data + ": there is none")
		}
		asked = append(asked, yes)
		servers := []cluster.Server{{Name: "a", ID: "a@1", Address: "10.0.0.1:8112", Voter: true}, {Name: "b", ID: "b@2", Address: "10.0.0.2:8112", Voter: true}, {Name: "c", ID: "c@3", Address: "10.0.0.3:8112", Voter: true}}
		state := cluster.State{Duties: map[cluster.DutyID]cluster.Duty{{Source: "shop", Mapping: "orders", Kind: cluster.Stream}: {Position: event.Position{File: "binlog.000007", Offset: 120}}}}
		return cli.Remnant{ClusterID: "id", Node: "b", ServerID: "b@2", Servers: servers, Term: 17, Index: 8123, State: state}, nil
	}}
	code, stdout, stderr := call(t, p, "recover", "-data", "/var/lib/canalgo")
	if code != 2 || !strings.Contains(stderr, "nothing was changed") || !strings.Contains(stderr, "canalgo recover -data /var/lib/canalgo -yes") {
		t.Errorf("without -yes: code %d, %q", code, stderr)
	}
	for _, part := range []string{"node b (b@2) of cluster id\nnewest entry: term 17, index 8123\n", "member a@1 at 10.0.0.1:8112\nmember b@2 at 10.0.0.2:8112, this folder's\n",
		"position of shop/orders: binlog.000007:120\n", "the folders of a majority (2 of 3) are gone for good"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("without -yes it does not say %q:\n%s", part, stdout)
		}
	}
	code, stdout, stderr = call(t, p, "recover", "-data", "/var/lib/canalgo", "-yes")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "node b is a cluster of its own now: start it") {
		t.Errorf("with -yes: code %d, %q, %q", code, stdout, stderr)
	}
	if fmt.Sprint(asked) != "[false true]" {
		t.Errorf("asked to go through with it: %v", asked)
	}
	if code, _, stderr = call(t, p, "recover", "-data", "/nothing"); code != 3 || !strings.Contains(stderr, "/nothing: there is none") {
		t.Errorf("no folder: code %d, %q", code, stderr)
	}
	if code, _, stderr = call(t, p, "recover", "-config", goodFile(t)); code != 3 || !strings.Contains(stderr, "canalgo-data: there is none") {
		t.Errorf("the folder that a file names: code %d, %q", code, stderr)
	}
	if code, _, stderr = call(t, p, "recover", "/var/lib/canalgo"); code != 2 || !strings.Contains(stderr, "only -data FOLDER or -config FILE, and -yes") {
		t.Errorf("an argument: code %d, %q", code, stderr)
	}
}
