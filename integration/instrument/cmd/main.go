// Command cmd builds canalgo with failpoints and seeded bugs, to try them by hand.
//
//	go run ./integration/instrument/cmd [-dir FOLDER]
//	CANALGO_BUG=ack_before_write CANALGO_FAILPOINTS=127.0.0.1:7777 bin/canalgo-instrumented ...
//	curl -X PUT '127.0.0.1:7777/sink.after_write?action=kill'
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"

	"canalgo/integration/instrument"
)

func main() {
	dir := flag.String("dir", "bin", "build in this `folder`")
	flag.Parse()
	if err := run(context.Background(), *dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	binary, err := instrument.Build(ctx, dir)
	if err != nil {
		return err
	}
	points, err := instrument.Points()
	if err != nil {
		return err
	}
	bugs, err := instrument.Bugs()
	if err != nil {
		return err
	}
	for _, name := range points {
		fmt.Println("failpoint", name)
	}
	for _, name := range slices.Sorted(maps.Keys(bugs)) {
		fmt.Println("bug", name+":", bugs[name].What)
	}
	fmt.Println(binary)
	return nil
}
