// Command cmd installs all servers and tools, or has MySQL and Elasticsearch run until it is interrupted.
//
//	go run ./integration/component/cmd install
//	go run ./integration/component/cmd up [-dir FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"canalgo/integration/component"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("say install or up")
	}
	switch args[0] {
	case "install":
		return component.Install(ctx)
	case "up":
		flags := flag.NewFlagSet("up", flag.ExitOnError)
		dir := flags.String("dir", "", "keep the data in this `folder`; without it the data is thrown away")
		flags.Parse(args[1:])
		return up(ctx, *dir)
	}
	return fmt.Errorf("unknown command %q: say install or up", args[0])
}

// up starts both servers, prints where they are and stops them when ctx ends.
func up(ctx context.Context, dir string) error {
	if dir == "" {
		scratch, err := os.MkdirTemp("", "canalgo-up-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(scratch)
		dir = scratch
	}
	if err := component.Install(ctx); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	db, err := component.StartMySQL(starting, filepath.Join(dir, "mysql"))
	if err != nil {
		return err
	}
	defer db.Stop()
	es, err := component.StartElasticsearch(starting, filepath.Join(dir, "elasticsearch"), component.ElasticsearchOptions{})
	if err != nil {
		return err
	}
	defer es.Stop()
	fmt.Printf("mysql          %s  user root without password, or %s with %s\n", db.Addr(), component.CanalgoUser, component.CanalgoPassword)
	fmt.Printf("mysql socket   %s\n", db.Socket)
	fmt.Printf("mysql client   %s\n", db.Client)
	fmt.Printf("elasticsearch  %s\n", es.URL())
	fmt.Println("interrupt to stop both")
	<-ctx.Done()
	return nil
}
