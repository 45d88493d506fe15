package component

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"canalgo/integration/process"
)

// CanalVersion is the release of canal's server that is installed.
const CanalVersion = "1.1.7"

const canalPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>canalgo</groupId><artifactId>canal</artifactId><version>1</version>
<dependencies>
<dependency><groupId>com.alibaba.otter</groupId><artifactId>canal.server</artifactId><version>` + CanalVersion + `</version></dependency>
</dependencies></project>
`

// canalMain is the class that puts canal's own classes together; the published jars have none.
//
//go:embed canalserver/CanalServer.java
var canalMain []byte

// installCanal puts the jars of canal's server into the folder lib.
func installCanal(ctx context.Context) (string, error) {
	return installJars(ctx, "canal-"+CanalVersion, canalPOM)
}

// CanalOptions say what a Java canal server reads.
type CanalOptions struct {
	ZooKeeper   string // host:port, several with commas, a chroot behind the last
	Destination string
	MySQL       *MySQL
	Tables      string // regular expression of schema.table
	Start       string // FILE:OFFSET, while there is no cursor
	Unread      bool   // it has no client of its own
}

// CanalServer is one Java canal server with its client 1001, which prints each row that is inserted and then acknowledges it.
type CanalServer struct {
	Port int // of canal's protocol, on 127.0.0.1

	process process.Process
}

// StartCanal starts a Java canal server on a folder, and returns once it competes for its destination.
func StartCanal(ctx context.Context, dir string, o CanalOptions) (*CanalServer, error) {
	install, err := installCanal(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lib := filepath.Join(install, "lib", "*")
	source := filepath.Join(dir, "CanalServer.java")
	logback := `<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %level %logger{0} %msg%n%ex</pattern></encoder></appender><root level="WARN"><appender-ref ref="out"/></root></configuration>`
	if err := errors.Join(os.WriteFile(source, canalMain, 0o644), os.WriteFile(filepath.Join(dir, "logback.xml"), []byte(logback), 0o644)); err != nil {
		return nil, err
	}
	if _, err := run(ctx, filepath.Join(javaHome(), "bin/javac"), "-cp", lib, "-d", dir, source); err != nil {
		return nil, err
	}
	c := &CanalServer{}
	if c.Port, err = process.FreePort(); err != nil {
		return nil, err
	}
	file, offset, _ := strings.Cut(o.Start, ":")
	c.process = process.Process{
		Name: "canal server",
		Log:  filepath.Join(dir, "canal.log"),
		Command: func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(javaHome(), "bin/java"), "-Xmx200m", "-Duser.timezone=UTC", "-Dlogback.configurationFile="+filepath.Join(dir, "logback.xml"),
				"-cp", dir+":"+lib, "CanalServer", o.ZooKeeper, o.Destination, fmt.Sprint(c.Port), "127.0.0.1", fmt.Sprint(o.MySQL.Port), CanalgoUser, CanalgoPassword,
				o.Tables, file, offset)
			if o.Unread {
				cmd.Args = append(cmd.Args, "unread")
			}
			cmd.Dir = dir
			return cmd
		},
		Ready: func(context.Context) error {
			if lines := c.lines("STARTED"); len(lines) == 0 {
				return errors.New("it has not said that it is started")
			}
			return nil
		},
	}
	return c, c.process.Start(ctx)
}

// Address is what the server registers.
func (c *CanalServer) Address() string { return fmt.Sprintf("127.0.0.1:%d", c.Port) }

// Kill ends the server at once, Stop in order.
func (c *CanalServer) Kill() error { return c.process.Kill() }

// Stop ends the server in order and waits.
func (c *CanalServer) Stop() error { return c.process.Stop() }

// LogTail returns the last lines that the server printed.
func (c *CanalServer) LogTail(count int) string { return process.Tail(c.process.Log, count) }

// Rows are the ids of the rows that its client has got, repeats included, in order.
func (c *CanalServer) Rows() []string { return c.lines("ROW ") }

// Errors are the lines of level ERROR that it printed.
func (c *CanalServer) Errors() []string {
	var errs []string
	for _, line := range c.lines("") {
		if strings.Contains(line, " ERROR ") {
			errs = append(errs, line)
		}
	}
	return errs
}

// lines are what the server printed behind a prefix.
func (c *CanalServer) lines(prefix string) []string {
	data, err := os.ReadFile(c.process.Log)
	if err != nil {
		return nil
	}
	var found []string
	for line := range bytes.Lines(data) {
		if text, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), prefix); ok {
			found = append(found, text)
		}
	}
	return found
}
