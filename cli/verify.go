package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"canalgo/verify"
)

// differentError says by its code alone that rows and documents differ; how has been printed.
type differentError struct{}

func (differentError) Error() string { return "" }

func (i *invocation) verify(ctx context.Context, args []string) error {
	flags := i.flags("verify")
	values := flags.Bool("values", false, "")
	client, rest, err := i.client(flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || strings.Count(rest[0], "/") != 1 {
		return wrongUse("write canalgo verify SOURCE/MAPPING")
	}
	last := time.Now()
	result, err := client.Verify(ctx, rest[0], *values, func(r verify.Result) {
		if time.Since(last) > plainEvery {
			last = time.Now()
			fmt.Fprintf(i.stderr, "%s: %d rows compared, %d differences\n", rest[0], r.Rows, r.Missing+r.Different+r.Refused)
		}
	})
	if err != nil {
		return &PreconditionError{fmt.Errorf("verify %s: %w", rest[0], err)}
	}
	for _, d := range result.Differences {
		fmt.Fprintln(i.stdout, plain(difference(d, *values)))
	}
	if result.Equal() {
		fmt.Fprintf(i.stdout, "%s: %d rows equal %d documents\n", rest[0], result.Rows, result.Documents)
		return nil
	}
	fmt.Fprintf(i.stdout, "%s: of %d rows and %d documents: %d missing, %d extra, %d different, %d of which no document can be made\n",
		rest[0], result.Rows, result.Documents, result.Missing, result.Extra, result.Different, result.Refused)
	if result.Moved {
		return &PreconditionError{fmt.Errorf("verify %s: the source was written to meanwhile, so that this may be changes on their way; stop the writes, or try again and see whether the same differ", rest[0])}
	}
	return differentError{}
}

// difference is one line.
func difference(d verify.Difference, values bool) string {
	row := "row " + d.Key
	if d.Key == "" {
		row = "its row"
	}
	switch d.Kind {
	case verify.Missing:
		return fmt.Sprintf("missing    document %s: of %s", d.Document, row)
	case verify.Extra:
		return fmt.Sprintf("extra      document %s (version %s): belongs to no row", d.Document, d.Version)
	case verify.Refused:
		return fmt.Sprintf("refused    document %s: none can be made of %s; see canalgo quarantine ls", d.Document, row)
	}
	line := fmt.Sprintf("different  document %s (version %s): field %s, of %s", d.Document, d.Version, d.Field, row)
	if values {
		line += fmt.Sprintf(": has %s, should have %s", orNothing(d.Doc), orNothing(d.Row))
	}
	return line
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
