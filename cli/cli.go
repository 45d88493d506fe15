// Package cli is the command line: it reads arguments, asks a running node or calls what main hands in, and renders the result.
//
// Exit codes: 0 done, 1 rows and documents differ (verify), 2 the command line or a file is wrong, 3 something around it is not as it must
// be (no node answers, a port in use, a server's setting), 4 a running node stopped or something in it is stuck.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"canalgo/api"
	"canalgo/config"
)

// The exit codes.
const (
	ExitDone         = 0
	ExitDifferent    = 1
	ExitUsage        = 2
	ExitPrecondition = 3
	ExitStopped      = 4
)

// A Program is what the command line needs of main.
type Program struct {
	Version string
	// Run runs a node until ctx ends. Its error ends the process with code 4, or 3 when it is a *PreconditionError.
	Run func(ctx context.Context, start Start) error
	// Token returns the token that a data folder holds.
	Token func(data string) (string, error)
	// Recover looks at a data folder whose cluster has lost its majority; with yes it makes it that of a cluster of its own.
	Recover func(data string, yes bool) (Remnant, error)
	// Export reads the state of a stopped cluster, where the file says that it is; Import makes a new cluster with it.
	Export func(ctx context.Context, file config.File) (Carried, error)
	Import func(ctx context.Context, file config.File, data []byte) (Carried, error)
	// Check tries everything that a file names.
	Check func(ctx context.Context, file config.File) (Checked, error)
}

// A Start is what a node is started with.
type Start struct {
	File config.File // flags have the last word
	Path string      // of the file; "" without one
	// Bootstrap lets a node that has others to join make a cluster when none of them has one.
	Bootstrap bool
}

// PreconditionError is a reason outside the program why it cannot begin: a port in use, a folder without permission.
type PreconditionError struct{ Err error }

func (e *PreconditionError) Error() string { return e.Err.Error() }
func (e *PreconditionError) Unwrap() error { return e.Err }

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func wrongUse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// stuckError says by its code alone that something is stuck; what it is has been printed.
type stuckError struct{}

func (stuckError) Error() string { return "" }

const introduction = `canalgo keeps Elasticsearch in step with the tables of a MySQL server.
The first host needs a file (config.example.toml is one): canalgo -config FILE; each further one: canalgo -join HOST:PORT -token TOKEN
canalgo -h lists the flags and commands.
`

const usage = `usage: canalgo -config FILE             run a node
       canalgo -join HOST:PORT -token T run another one: sources, sinks and mappings come from the cluster
       canalgo check FILE               try everything that a file names: grants, settings, tables, sinks
       canalgo COMMAND [-http ADDRESS]  ask the node that runs here:

  status [-json]                        what it does; exits with 4 when something is stuck
  diff FILE                             what apply would change
  apply FILE [-dry-run]                 make the file's sources, sinks and mappings the ones in use
  pause  source|sink|mapping NAME       stop at the next boundary, and keep the position
  resume source|sink|mapping NAME       go on
  load SOURCE/MAPPING [-detach]         write the rows that exist, beside the stream
  load -part SOURCE/MAPPING PARAM...    only those of the mapping's etlCondition, whose {} are the PARAMs
  verify SOURCE/MAPPING [-values]       compare all rows with all documents; exits with 1 when they differ
  quarantine ls [-json]                 documents that were set aside
  quarantine show ID                    one of them
  quarantine retry ID...|all            write them again from their rows
  quarantine drop ID...|all             forget them
  rewind SOURCE PLACE                   read again from FILE:OFFSET, a time, a GTID set or current, in a new epoch
  token [-data FOLDER]                  print what a further node needs
  leave                                 hand over, leave the cluster and stop
  remove NODE                           take a node out that is gone for good
  recover [-data FOLDER] [-yes]         the majority's folders are gone: go on with this one, while it is stopped
  state export|import STATE -config FILE   carry the state of a stopped cluster between Raft and ZooKeeper
  version                               print the version

Flags of a node; they override [node] and [cluster] of the file:
  -id NAME   -data FOLDER   -bootstrap  make a cluster when none of those to join has one
  -listen HOST:PORT                     the node port, for the other nodes; ` + config.DefaultListen + `
  -advertise HOST:PORT                  at which they reach it
  -http HOST:PORT                       status, metrics and commands; ` + config.DefaultHTTP + `
  -join HOST:PORT[,HOST:PORT]           node ports of others
  -token TOKEN                          or $CANALGO_TOKEN, or file:PATH

ADDRESS is what the node's node.http says; without -http it is $CANALGO_HTTP, else ` + config.DefaultHTTP + `.
Exit codes: 1 they differ, 2 wrong use or file, 3 something around is not as it must be, 4 stopped or stuck.
`

// Main does what args say and returns the exit code. Everything wrong is one line on stderr, each mistake in a file one of its own.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer, p Program) int {
	err := (&invocation{stdout: stdout, stderr: stderr, program: p}).run(ctx, args)
	if err == nil {
		return ExitDone
	}
	var mistakes *config.Mistakes
	switch {
	case err.Error() == "":
	case errors.As(err, &mistakes):
		fmt.Fprintln(stderr, mistakes.Error())
	default:
		fmt.Fprintln(stderr, "canalgo: "+strings.Join(strings.Fields(err.Error()), " "))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var (
		mistakes     *config.Mistakes
		use          *usageError
		precondition *PreconditionError
		refusal      *api.AnswerError
	)
	switch {
	case errors.Is(err, differentError{}):
		return ExitDifferent
	case errors.As(err, &mistakes), errors.As(err, &use):
		return ExitUsage
	case errors.As(err, &refusal) && refusal.Code < 500:
		return ExitUsage
	case errors.As(err, &precondition), errors.As(err, &refusal), errors.Is(err, api.ErrUnreachable):
		return ExitPrecondition
	}
	return ExitStopped
}

// An invocation is one call of the program.
type invocation struct {
	stdout, stderr io.Writer
	program        Program
	http           string // the node's address
}

// A command is what a first argument names.
type command func(ctx context.Context, args []string) error

func (i *invocation) commands() map[string]command {
	return map[string]command{
		"status": i.status, "check": i.check, "diff": i.diff, "apply": i.apply, "load": i.load, "verify": i.verify, "quarantine": i.quarantine,
		"pause":   func(ctx context.Context, args []string) error { return i.pause(ctx, "pause", args) },
		"resume":  func(ctx context.Context, args []string) error { return i.pause(ctx, "resume", args) },
		"version": i.version, "token": i.token, "leave": i.leave, "remove": i.remove, "rewind": i.rewind, "recover": i.recover, "state": i.state,
	}
}

func (i *invocation) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(i.stderr, introduction)
		return &usageError{}
	}
	if !strings.HasPrefix(args[0], "-") {
		return i.command(ctx, args)
	}
	flags := i.flags("canalgo")
	start := startFlags(flags)
	rest, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(i.stdout, usage)
		return nil
	case err != nil:
		return err
	case len(rest) > 0 && *start.config == "" && *start.join == "":
		return i.command(ctx, append(rest, "-http", i.http))
	case len(rest) > 0:
		return wrongUse("-config or -join runs a node and takes no %q; canalgo -h lists the commands", rest[0])
	case *start.config == "" && *start.join == "":
		return wrongUse("-config FILE is missing, or -join HOST:PORT; canalgo -h lists the commands")
	}
	what, err := start.read(flags)
	if err != nil {
		return err
	}
	if err := i.program.Run(ctx, what); err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
		return err
	}
	return nil
}

func (i *invocation) command(ctx context.Context, args []string) error {
	commands := i.commands()
	do := commands[args[0]]
	if do == nil {
		var names []string
		for name := range commands {
			names = append(names, name)
		}
		slices.Sort(names)
		return wrongUse("there is no command %q; there are %s", args[0], strings.Join(names, ", "))
	}
	err := do(ctx, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(i.stdout, usage)
		return nil
	}
	return err
}

// fileError makes a file that cannot be read a wrong use.
func fileError(err error) error {
	var mistakes *config.Mistakes
	if errors.As(err, &mistakes) {
		return err
	}
	return &usageError{err.Error()}
}

// flags returns a set with the flags that every command takes.
func (i *invocation) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	address := os.Getenv("CANALGO_HTTP")
	if address == "" {
		address = config.DefaultHTTP
	}
	flags.StringVar(&i.http, "http", address, "")
	return flags
}

// parse takes flags before, between and behind the other arguments, which it returns.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		err := flags.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil, err
		case err != nil:
			return nil, wrongUse("%s; canalgo -h lists the commands", err)
		case flags.NArg() == 0:
			return rest, nil
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// client parses the arguments and returns a client of the node that they name.
func (i *invocation) client(flags *flag.FlagSet, args []string) (*api.Client, []string, error) {
	rest, err := parse(flags, args)
	if err != nil {
		return nil, nil, err
	}
	client, err := api.NewClient(i.http)
	if err != nil {
		return nil, nil, wrongUse("-http: %s", err)
	}
	return client, rest, nil
}

// unreachable adds what to do to an error of a client.
func unreachable(err error) error {
	if errors.Is(err, api.ErrUnreachable) {
		return fmt.Errorf("%w; start one by canalgo -config FILE, or name its address by -http", err)
	}
	return err
}

func (i *invocation) version(_ context.Context, args []string) error {
	if len(args) > 0 {
		return wrongUse("version takes no arguments")
	}
	fmt.Fprintf(i.stdout, "canalgo %s (%s, %s/%s)\n", i.program.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
