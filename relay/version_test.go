package relay_test

import (
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"canalgo/relay"
)

// between serves a feed in one version of frames to a node that speaks another.
func between(t *testing.T, served, asks uint8, feed relay.Served) (f *relay.Feed, serving <-chan error, err error) {
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		s, _, err := relay.Accept(far, served)
		if err == nil {
			err = s.Serve(t.Context(), feed)
		}
		done <- err
	}()
	f, err = relay.OpenFeed(t.Context(), near, asks, open)
	return f, done, err
}

func TestEveryVersionCarriesBatches(t *testing.T) {
	for version := uint8(1); version <= relay.MaxVersion; version++ {
		synctest.Test(t, func(t *testing.T) {
			batches := raws(3, 300<<10) // in parts
			f, served, err := between(t, version, version, &fake{batches: batches})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range batches {
				if got := take(t, f); !reflect.DeepEqual(got, want) {
					t.Fatalf("version %d: batch %d came otherwise", version, want.Seq)
				}
			}
			finish(t, f, served)
		})
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	for _, c := range []struct{ served, asks uint8 }{{1, 2}, {2, 1}} {
		synctest.Test(t, func(t *testing.T) {
			_, served, err := between(t, c.served, c.asks, &fake{batches: raws(1, 10)})
			if err == nil {
				t.Errorf("version %d was served to who speaks %d", c.served, c.asks)
			}
			if err := <-served; err == nil || !strings.Contains(err.Error(), "frame of version") {
				t.Errorf("version %d served to who speaks %d: %v", c.served, c.asks, err)
			}
		})
	}
}
