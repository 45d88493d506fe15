package component

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

//go:embed canalclient
var canalClient embed.FS

// installCanalClient fetches canal's own Java client, as it is published, and builds the program around it that tests talk to.
func installCanalClient(ctx context.Context) (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(canalClient, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := canalClient.ReadFile(path)
		sum.Write(data)
		return err
	})
	if err != nil {
		return "", err
	}
	return installOnce(ctx, fmt.Sprintf("canalclient-%x", sum.Sum(nil)[:4]), func(ctx context.Context, dir string) error {
		if err := os.CopyFS(dir, canalClient); err != nil {
			return err
		}
		dir = filepath.Join(dir, "canalclient")
		if _, err := run(ctx, "mvn", "-B", "-ntp", "-q", "-f", filepath.Join(dir, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib")); err != nil {
			return err
		}
		_, err := run(ctx, "javac", "-nowarn", "-cp", filepath.Join(dir, "lib", "*"), "-d", filepath.Join(dir, "classes"), filepath.Join(dir, "Client.java"))
		return err
	})
}

// A CanalClient is a process with a Java client of canal. It is for one goroutine, but Kill.
type CanalClient struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartCanalClient starts a Java client, whose own log goes to a file. canalclient/Client.java says what it can be told.
func StartCanalClient(ctx context.Context, log string) (*CanalClient, error) {
	install, err := installCanalClient(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(install, "canalclient")
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &CanalClient{cmd: exec.Command("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-cp", filepath.Join(dir, "classes")+":"+filepath.Join(dir, "lib", "*"), "Client")}
	c.cmd.Stderr = file
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 1<<20)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a Java client of canal: %w", err)
	}
	return c, nil
}

// A CanalError is what the Java client threw.
type CanalError struct{ Text string }

func (e *CanalError) Error() string { return e.Text }

// Do has the client do something and returns what it answers, as JSON, or a *CanalError.
func (c *CanalClient) Do(line string) (json.RawMessage, error) {
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return nil, fmt.Errorf("tell the Java client: %w", err)
	}
	answer, err := c.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("hear the Java client after %q: %w", line, err)
	}
	var failed struct{ Error string }
	if err := json.Unmarshal(answer, &failed); err != nil {
		return nil, fmt.Errorf("the Java client answers %.200q: %w", answer, err)
	}
	if failed.Error != "" {
		return nil, &CanalError{failed.Error}
	}
	return answer, nil
}

// Kill ends the process by kill -9.
func (c *CanalClient) Kill() {
	err := c.cmd.Process.Kill()
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		_ = c.cmd.Wait()
	}
}
