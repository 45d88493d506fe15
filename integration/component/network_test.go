//go:build integration

package component_test

import (
	"context"
	"net"
	"os/exec"
	"testing"
	"time"

	"canalgo/integration/component"
)

// TestNetworkCut connects two hosts with the machine and with each other, and cuts one from the other.
func TestNetworkCut(t *testing.T) {
	n, err := component.NewNetwork(starting(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	outside, err := net.Listen("tcp", n.Outside()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	argv := append(n.Within(2), "bash", "-c", "exec 3<>/dev/tcp/"+n.Inner(1)+"/22")
	reaches := func(address string) (refused bool) { // by what bash says of a connection that nobody takes
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		argv[len(argv)-1] = "exec 3<>/dev/tcp/" + address
		exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
		return ctx.Err() == nil
	}
	_, port, _ := net.SplitHostPort(outside.Addr().String())
	within, machine := n.Inner(1)+"/22", n.Outside()+"/"+port
	if !reaches(within) || !reaches(machine) {
		t.Error("the hosts do not reach each other or the machine")
	}
	if err := n.Cut(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if reaches(within) {
		t.Error("a host that is cut off reaches the other")
	}
	if !reaches(machine) {
		t.Error("a host that is cut off does not reach the machine")
	}
	if err := n.Heal(ctx, 2); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !reaches(within) {
		if time.Now().After(deadline) {
			t.Fatal("healed, they do not reach each other")
		}
	}
	if err := n.Lose(ctx, 2, n.Outside()); err != nil {
		t.Fatal(err)
	}
	if blind := exec.CommandContext(ctx, argv[0], argv[1:]...); reachesNow(blind, machine) {
		t.Error("a host reaches an address to which everything is lost")
	}
	if !reaches(within) {
		t.Error("a host that does not reach the machine does not reach the other")
	}
	if err := n.Find(ctx, 2, n.Outside()); err != nil {
		t.Fatal(err)
	}
	if !reaches(machine) {
		t.Error("healed, the host does not reach the machine")
	}
}

// reachesNow reports whether a connection was made; the kernel refuses it at once where there is no way.
func reachesNow(cmd *exec.Cmd, address string) bool {
	cmd.Args[len(cmd.Args)-1] = "exec 3<>/dev/tcp/" + address
	return cmd.Run() == nil
}
