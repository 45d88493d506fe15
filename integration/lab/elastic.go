package lab

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/proxy"
)

// answerWith answers requests to Elasticsearch, those for which status is not 0.
func (f *fault) answerWith(status func(*http.Request) int) error {
	set := func(status func(*http.Request) int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.request = status
	}
	set(status)
	f.heal(func() error { set(nil); return nil })
	return nil
}

func isBulk(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/_bulk") }

// elasticBusy refuses whole bulks.
func elasticBusy(_ context.Context, f *fault) error {
	return f.answerWith(func(r *http.Request) int {
		if isBulk(r) {
			return http.StatusTooManyRequests
		}
		return 0
	})
}

// elasticGateway answers half of all requests as a gateway does whose server is away.
func elasticGateway(_ context.Context, f *fault) error {
	kinds := []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, proxy.Reset}
	return f.answerWith(func(*http.Request) int {
		if f.chance(50) {
			return kinds[f.draw(len(kinds))]
		}
		return 0
	})
}

// elasticTooLarge refuses bulks above some bytes; no document is that large.
func elasticTooLarge(_ context.Context, f *fault) error {
	return f.answerWith(func(r *http.Request) int {
		if isBulk(r) && r.ContentLength > 20_000 {
			return http.StatusRequestEntityTooLarge
		}
		return 0
	})
}

func elasticUnauthorized(_ context.Context, f *fault) error {
	return f.answerWith(func(*http.Request) int { return http.StatusUnauthorized })
}

// elasticItemFaults refuses one item of five for now, so that a newer change of its document may be written before it is retried.
func elasticItemFaults(_ context.Context, f *fault) error {
	f.elastic.FailItems(func(proxy.Item) int {
		switch f.draw(10) {
		case 0:
			return http.StatusTooManyRequests
		case 1:
			return http.StatusServiceUnavailable
		}
		return 0
	})
	f.heal(func() error { f.elastic.FailItems(nil); return nil })
	return nil
}

// spoilAnswers spoils half of the answers to bulks.
func (f *fault) spoilAnswers(how ...proxy.Answer) error {
	f.elastic.SpoilAnswers(func(*http.Request) proxy.Answer {
		if f.chance(50) {
			return how[f.draw(len(how))]
		}
		return proxy.Whole
	})
	f.heal(func() error { f.elastic.SpoilAnswers(nil); return nil })
	return nil
}

func elasticAnswersLost(_ context.Context, f *fault) error { return f.spoilAnswers(proxy.Lost) }

func elasticAnswersSpoiled(_ context.Context, f *fault) error {
	return f.spoilAnswers(proxy.Answers()...)
}

// elasticLate holds the bulks of one node back, some longer than a request may take.
func elasticLate(_ context.Context, f *fault) error {
	n := f.pick()
	f.holdBulks(hostOf(n.HTTP), 500*ms+time.Duration(f.draw(4000))*ms)
	return nil
}

// elasticBlock takes no writes into one index, as when the disk is nearly full.
func elasticBlock(ctx context.Context, f *fault) error {
	index := f.indices[f.draw(len(f.indices))]
	setting := []string{"index.blocks.write", "index.blocks.read_only_allow_delete"}[f.draw(2)]
	set := func(ctx context.Context, value any) error {
		return f.lab.es.PutSettings(ctx, index, map[string]any{setting: value})
	}
	if _, err := f.lab.es.Request(ctx, http.MethodHead, "/"+index, nil); err != nil {
		return errTaken // it is not there yet, or the server is away
	}
	f.healWithin(patience, func(ctx context.Context) error {
		// It may be on its way back from a crash.
		if err := harness.Poll(ctx, func() error { return set(ctx, nil) }); err != nil {
			return fmt.Errorf("unblock %s: %w", index, err)
		}
		return nil
	})
	if err := set(ctx, true); err != nil {
		return errTaken
	}
	return nil
}

func elasticFreeze(_ context.Context, f *fault) error {
	f.heal(f.lab.es.Continue)
	return f.lab.es.Pause()
}

// elasticKill is a crash of the server, which takes some seconds to come back. It forgets the versions of deleted documents then,
// so no write may be on the way that is older than a delete.
func elasticKill(_ context.Context, f *fault) error {
	f.healWithin(2*time.Minute, f.lab.es.Start)
	err := f.lab.es.Kill()
	f.sampler.Forget()
	return err
}
