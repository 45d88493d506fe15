package component

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// A Network is some hosts of one machine, each a network namespace with two cables: one to the machine itself, one to a switch
// between the hosts. Only root can make one.
type Network struct {
	ip     []string // the command
	prefix string   // of all names
	subnet int      // the second byte of all addresses
	hosts  int
}

// networks counts those that this process has made.
var networks atomic.Int64

// NewNetwork makes a network. The caller closes it.
func NewNetwork(ctx context.Context, hosts int) (*Network, error) {
	ip, err := ipCommand(ctx)
	if err != nil {
		return nil, err
	}
	// The kernel takes a namespace that was deleted down some time later, so no name or address is used twice.
	number := int(networks.Add(1))
	n := &Network{ip: ip, prefix: fmt.Sprintf("cg%d%c", os.Getpid(), 'a'+number%26), subnet: 100 + (os.Getpid()+17*number)%100, hosts: hosts}
	if err := n.lay(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make a network: %w", err), n.Close())
	}
	return n, nil
}

// lay makes the bridges, the namespaces and the cables.
func (n *Network) lay(ctx context.Context) error {
	for _, side := range []string{"o", "i"} { // outer, inner
		if err := n.do(ctx, "link add "+n.prefix+side+" type bridge"); err != nil {
			return err
		}
		if err := n.do(ctx, "link set "+n.prefix+side+" up"); err != nil {
			return err
		}
	}
	for side, addresses := range map[string][]string{"o": {n.Outside(), n.Server(0), n.Server(1)}, "i": {n.Between()}} {
		for _, address := range addresses {
			if err := n.do(ctx, "addr add "+address+"/24 dev "+n.prefix+side); err != nil {
				return err
			}
		}
	}
	for host := 1; host <= n.hosts; host++ {
		space := n.space(host)
		steps := []string{"netns add " + space, "-n " + space + " link set lo up"}
		for side, address := range map[string]string{"o": n.Outer(host), "i": n.Inner(host)} {
			cable, end := n.cable(side, host), "eth"+side
			steps = append(steps, "link add "+cable+" type veth peer name "+end+" netns "+space,
				"link set "+cable+" master "+n.prefix+side+" up",
				"-n "+space+" addr add "+address+"/24 dev "+end,
				"-n "+space+" link set "+end+" up")
		}
		for _, step := range steps {
			if err := n.do(ctx, step); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Network) space(host int) string { return fmt.Sprintf("%s-%d", n.prefix, host) }

func (n *Network) cable(side string, host int) string {
	return fmt.Sprintf("%s%s%d", n.prefix, side, host)
}

func (n *Network) do(ctx context.Context, step string) error {
	argv := append(slices.Clone(n.ip), strings.Fields(step)...)
	_, err := run(ctx, argv[0], argv[1:]...)
	return err
}

// Outside is the machine's own address, as the hosts reach it.
func (n *Network) Outside() string { return fmt.Sprintf("10.%d.1.254", n.subnet) }

// Server is a further address of the machine, 0 or 1, for a server of which a host is to be cut off.
func (n *Network) Server(i int) string { return fmt.Sprintf("10.%d.1.%d", n.subnet, 253-i) }

// Between is the machine's address on the switch between the hosts, for a proxy.
func (n *Network) Between() string { return fmt.Sprintf("10.%d.2.254", n.subnet) }

// Outer is a host's address, from 1, for the machine.
func (n *Network) Outer(host int) string { return fmt.Sprintf("10.%d.1.%d", n.subnet, host) }

// Inner is a host's address for the other hosts.
func (n *Network) Inner(host int) string { return fmt.Sprintf("10.%d.2.%d", n.subnet, host) }

// Within is the command before one that is to run on a host.
func (n *Network) Within(host int) []string {
	return append(slices.Clone(n.ip), "netns", "exec", n.space(host))
}

// Cut pulls the cable between a host and the other hosts: what they send to each other is lost, and nobody is told.
func (n *Network) Cut(ctx context.Context, host int) error {
	return n.do(ctx, "link set "+n.cable("i", host)+" nomaster")
}

// Heal puts it in again.
func (n *Network) Heal(ctx context.Context, host int) error {
	return n.do(ctx, "link set "+n.cable("i", host)+" master "+n.prefix+"i")
}

// Lose has everything lost that a host sends to an address: it can make no connection to it, and on those that it has it hears
// but is not heard.
func (n *Network) Lose(ctx context.Context, host int, address string) error {
	return n.do(ctx, "-n "+n.space(host)+" rule add to "+address+" blackhole pref 10")
}

// Find ends a Lose.
func (n *Network) Find(ctx context.Context, host int, address string) error {
	return n.do(ctx, "-n "+n.space(host)+" rule del to "+address+" blackhole pref 10")
}

// Close removes everything; no process may run on the hosts.
func (n *Network) Close() error {
	ctx := context.Background()
	var errs []error
	for host := 1; host <= n.hosts; host++ {
		for _, side := range []string{"o", "i"} {
			errs = append(errs, n.do(ctx, "link del "+n.cable(side, host)))
		}
		errs = append(errs, n.do(ctx, "netns del "+n.space(host)))
	}
	for _, side := range []string{"o", "i"} {
		errs = append(errs, n.do(ctx, "link del "+n.prefix+side))
	}
	return errors.Join(errs...)
}

// ipCommand returns the machine's ip command, or an unpacked one.
func ipCommand(ctx context.Context) ([]string, error) {
	if path, err := exec.LookPath("ip"); err == nil {
		return []string{path}, nil
	}
	return installIP(ctx)
}

// installIP unpacks Debian's iproute2 as installMySQL does, and returns the command that runs its ip.
func installIP(ctx context.Context) ([]string, error) {
	install, err := installOnce(ctx, "iproute2-sid", func(ctx context.Context, dir string) error {
		debs, err := downloadDebs(ctx, filepath.Join(dir, "apt"), "iproute2")
		if err != nil {
			return err
		}
		for _, deb := range debs {
			if _, err := run(ctx, "dpkg", "-x", deb, filepath.Join(dir, "root")); err != nil {
				return err
			}
		}
		return os.RemoveAll(filepath.Join(dir, "apt"))
	})
	if err != nil {
		return nil, err
	}
	program := ""
	err = filepath.WalkDir(filepath.Join(install, "root"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "ip" && d.Type().IsRegular() && filepath.Base(filepath.Dir(path)) == "bin" {
			program = path
		}
		return err
	})
	if err == nil && program == "" {
		err = errors.New("there is no bin/ip in it")
	}
	if err != nil {
		return nil, fmt.Errorf("look for ip in %s: %w", install, err)
	}
	return inRoot(filepath.Join(install, "root"), program), nil
}
