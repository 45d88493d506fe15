package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/process"
)

// ZooKeeperVersion is the release that is installed.
const ZooKeeperVersion = "3.8.4"

// zooKeeperPOM names the server with what it wants beside it at run time; its own POM leaves the last two to whoever runs it.
const zooKeeperPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>canalgo</groupId><artifactId>zookeeper</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>` + ZooKeeperVersion + `</version></dependency>
<dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version></dependency>
<dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version></dependency>
</dependencies></project>
`

// installZooKeeper puts the server's jars into the folder lib.
func installZooKeeper(ctx context.Context) (string, error) {
	return installJars(ctx, "zookeeper-"+ZooKeeperVersion, zooKeeperPOM)
}

// ZooKeeperOptions change how an ensemble is started; the zero value is three members with a tick of 500 ms, which grant sessions
// from 1 s to 10 s.
type ZooKeeperOptions struct {
	Members int
	Tick    time.Duration
	// Settings go into each member's zoo.cfg.
	Settings map[string]string
}

// ZooKeeper is an ensemble of servers.
type ZooKeeper struct{ Members []*ZooKeeperMember }

// A ZooKeeperMember is one server of an ensemble. Its methods may be called from several goroutines.
type ZooKeeperMember struct {
	Dir  string
	Port int // for clients, on 127.0.0.1, the same over restarts

	process process.Process
}

// StartZooKeeper starts an ensemble on folders below dir and returns once each member serves; ctx bounds only that.
func StartZooKeeper(ctx context.Context, dir string, o ZooKeeperOptions) (*ZooKeeper, error) {
	install, err := installZooKeeper(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if o.Members == 0 {
		o.Members = 3
	}
	if o.Tick == 0 {
		o.Tick = 500 * time.Millisecond
	}
	var shared strings.Builder
	fmt.Fprintf(&shared, "tickTime=%d\ninitLimit=20\nsyncLimit=10\nadmin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n", o.Tick.Milliseconds())
	for key, value := range o.Settings {
		fmt.Fprintf(&shared, "%s=%s\n", key, value)
	}
	for i := range o.Members {
		var ports [2]int
		for j := range ports {
			if ports[j], err = process.FreePort(); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(&shared, "server.%d=127.0.0.1:%d:%d\n", i+1, ports[0], ports[1])
	}
	z := &ZooKeeper{}
	for i := range o.Members {
		m, err := newZooKeeperMember(install, filepath.Join(dir, fmt.Sprint(i+1)), i+1, shared.String())
		if err != nil {
			return nil, fmt.Errorf("configure zookeeper: %w", err)
		}
		z.Members = append(z.Members, m)
	}
	return z, z.Start(ctx)
}

func newZooKeeperMember(install, dir string, id int, shared string) (*ZooKeeperMember, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"myid":        fmt.Sprintln(id),
		"zoo.cfg":     fmt.Sprintf("%sdataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\n", shared, dir, port),
		"logback.xml": `<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %level %msg%n</pattern></encoder></appender><root level="INFO"><appender-ref ref="out"/></root></configuration>`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	m := &ZooKeeperMember{Dir: dir, Port: port}
	m.process = process.Process{
		Name: fmt.Sprintf("zookeeper %d", id),
		Log:  filepath.Join(dir, "zookeeper.log"),
		Command: func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(javaHome(), "bin/java"), "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
				"-Dzookeeper.preAllocSize=512", "-Dzookeeper.jmx.log4j.disable=true", "-Dlogback.configurationFile="+filepath.Join(dir, "logback.xml"),
				"-cp", filepath.Join(install, "lib/*"), "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(dir, "zoo.cfg"))
			cmd.Dir = dir
			return cmd
		},
		Ready: func(context.Context) error {
			mode, err := m.Mode()
			if err == nil && mode == "" {
				err = errors.New("not in a quorum")
			}
			return err
		},
	}
	return m, nil
}

// Servers lists host:port of the members.
func (z *ZooKeeper) Servers() []string {
	var servers []string
	for _, m := range z.Members {
		servers = append(servers, m.Addr())
	}
	return servers
}

// Start starts the members that do not run and waits until each serves.
func (z *ZooKeeper) Start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range z.Members {
		if m.PID() == 0 {
			g.Go(func() error { return m.Start(ctx) })
		}
	}
	return g.Wait()
}

// Kill ends all members at once.
func (z *ZooKeeper) Kill() error {
	var errs []error
	for _, m := range z.Members {
		errs = append(errs, m.Kill())
	}
	return errors.Join(errs...)
}

// Leader is the member that leads the ensemble, nil while none does.
func (z *ZooKeeper) Leader() *ZooKeeperMember {
	for _, m := range z.Members {
		if mode, err := m.Mode(); err == nil && mode == "leader" {
			return m
		}
	}
	return nil
}

// Addr is host:port.
func (m *ZooKeeperMember) Addr() string { return fmt.Sprintf("127.0.0.1:%d", m.Port) }

// LogFile names the file with what the member printed.
func (m *ZooKeeperMember) LogFile() string { return m.process.Log }

// PID is the member's process id, 0 while it does not run.
func (m *ZooKeeperMember) PID() int { return m.process.PID() }

// Start starts the member again on the same data and port, and waits until it serves: a majority has to run.
func (m *ZooKeeperMember) Start(ctx context.Context) error { return m.process.Start(ctx) }

// Kill ends the member at once, as a crash would. One that does not run is no error.
func (m *ZooKeeperMember) Kill() error { return m.process.Kill() }

// Pause stops the member's clock: it keeps its connections and answers nothing until Continue.
func (m *ZooKeeperMember) Pause() error { return m.process.Signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (m *ZooKeeperMember) Continue() error { return m.process.Signal(syscall.SIGCONT) }

// Mode is what the member does, "leader" or "follower", and "" while it serves nobody.
func (m *ZooKeeperMember) Mode() (string, error) {
	conn, err := net.DialTimeout("tcp", m.Addr(), time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", err
	}
	_, mode, _ := strings.Cut(string(answer), "Mode: ")
	mode, _, _ = strings.Cut(mode, "\n")
	return mode, nil
}
