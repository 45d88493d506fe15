package proxy_test

import (
	"bytes"
	"errors"
	"io"
	mathbits "math/bits"
	"net"
	"os"
	"strings"
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

// TestTCPSpoil does one thing to one direction of the connections of this host; those of another host are not touched.
func TestTCPSpoil(t *testing.T) {
	sent := strings.Repeat("0123456789abcdef", 1000)
	for name, c := range map[string]struct {
		spoil proxy.Spoil
		want  func(got string, took time.Duration, err error) bool
	}{
		"delay": {proxy.Spoil{Delay: 50 * time.Millisecond, Jitter: time.Millisecond}, func(got string, took time.Duration, err error) bool {
			return got == sent && took >= 50*time.Millisecond
		}},
		"rate": {proxy.Spoil{Rate: 160_000}, func(got string, took time.Duration, err error) bool {
			return got == sent && took >= 90*time.Millisecond
		}},
		"stall": {proxy.Spoil{Stall: true}, func(got string, _ time.Duration, err error) bool {
			return got == "" && errors.Is(err, os.ErrDeadlineExceeded)
		}},
		"drop": {proxy.Spoil{Drop: true}, func(got string, _ time.Duration, err error) bool {
			return got == "" && errors.Is(err, os.ErrDeadlineExceeded)
		}},
		"flip": {proxy.Spoil{Flip: 4000}, func(got string, _ time.Duration, err error) bool {
			return len(got) == len(sent) && bits(got, sent) > 0 && bits(got, sent) <= 4
		}},
		"budget": {proxy.Spoil{Budget: 5000}, func(got string, _ time.Duration, err error) bool {
			return strings.HasPrefix(sent[:5000], got) && (err == io.EOF || err == io.ErrUnexpectedEOF)
		}},
		"reset": {proxy.Spoil{Budget: 5000, Reset: true}, func(got string, _ time.Duration, err error) bool { return len(got) <= 5000 && err != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, way := range []proxy.Direction{proxy.ToTarget, proxy.FromTarget} {
				p := echo(t)
				p.SpoilFrom("127.0.0.1", way, c.spoil)
				conn := dial(t, p)
				conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
				began := time.Now()
				go io.WriteString(conn, sent)
				buf := make([]byte, len(sent))
				n, err := io.ReadFull(conn, buf)
				if got := string(buf[:n]); !c.want(got, time.Since(began), err) {
					t.Errorf("direction %d: %d of %d bytes, %d bits flipped, %v", way, n, len(sent), bits(got, sent), err)
				}

				other := echo(t)
				other.SpoilFrom("127.0.0.2", way, c.spoil)
				if err := ask(dial(t, other), "hello"); err != nil {
					t.Errorf("a host that is not meant: %v", err)
				}
			}
		})
	}
}

// bits counts those in which two texts differ.
func bits(a, b string) (n int) {
	for i := range min(len(a), len(b)) {
		n += mathbits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// TestTCPHealEndsSpoils lets what was stalled arrive.
func TestTCPHealEndsSpoils(t *testing.T) {
	p := echo(t)
	p.Spoil(proxy.ToTarget, proxy.Spoil{Stall: true})
	p.SpoilFrom("127.0.0.1", proxy.FromTarget, proxy.Spoil{Stall: true})
	c := dial(t, p)
	if _, err := io.WriteString(c, "hel"); err != nil {
		t.Fatal(err)
	}
	p.Heal()
	buf := make([]byte, 3)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hel" {
		t.Errorf("%q, %v", buf, err)
	}
}
