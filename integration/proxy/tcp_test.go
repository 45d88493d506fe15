package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"canalgo/integration/proxy"
)

// echo answers each byte with itself.
func echo(t *testing.T) *proxy.TCP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	p, err := proxy.NewTCP(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *proxy.TCP) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// ask sends text and reads as much back.
func ask(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return errors.New("another text came back")
	}
	return nil
}

func TestTCPCutAndHeal(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := ask(c, "hello"); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if err := ask(c, "hello"); err == nil {
		t.Error("a cut connection answers")
	}
	if err := ask(dial(t, p), "hello"); err == nil {
		t.Error("a connection made during the cut answers")
	}
	p.Heal()
	if err := ask(dial(t, p), "hello"); err != nil {
		t.Errorf("after the cut: %v", err)
	}
	if got := p.Connections(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestTCPStallKeepsData(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := ask(c, "before"); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if err := ask(c, "during"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("during a stall: %v, want no answer", err)
	}
	p.Heal()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "during" {
		t.Errorf("after the stall: %q, %v", got, err)
	}
}

func TestTCPDelay(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Delay(30 * time.Millisecond)
	begin := time.Now()
	if err := ask(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 60*time.Millisecond {
		t.Errorf("there and back took %v, want at least 60ms", took)
	}
}

func TestTCPBreakAfter(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.BreakAfter(10)
	if _, err := c.Write(bytes.Repeat([]byte("x"), 25)); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c)
	if len(got) != 10 {
		t.Errorf("%d bytes arrived, want 10", len(got))
	}
	if err := ask(dial(t, p), "a connection afterwards has no limit"); err != nil {
		t.Error(err)
	}
}

func TestTCPBreak(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := ask(c, "hello"); err != nil {
		t.Fatal(err)
	}
	p.Break()
	if err := ask(c, "hello"); err == nil {
		t.Error("a broken connection answers")
	}
	if err := ask(dial(t, p), "hello"); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}
