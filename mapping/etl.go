package mapping

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"
)

// An etlCondition says which rows a load of a part takes: canal's key of that name.
//
// It is written into the queries of a load only, so it may say what a WHERE of the mapping may not: which rows it takes is decided
// when they are read, and a row that it leaves out keeps the document that it has.
type etlCondition struct {
	text   string // as the settings have it: where CONDITION
	holes  []int  // where each {} stands in it
	called string // the name by which the columns of the table are called
}

// ErrNoCondition says that a mapping has no etlCondition.
var ErrNoCondition = errors.New("the mapping has no etlCondition, so that a load of it is of all rows")

// hole is where a parameter stands; of older canals it was {0}.
const hole = "{}"

var anyHole = regexp.MustCompile(`\{\d*\}`)

// compileEtl reads the condition. called is the name of the table whose rows a load goes through.
func compileEtl(text, called string) (*etlCondition, error) {
	e := &etlCondition{text: text, called: called}
	bare := blankQuoted(text)
	for _, found := range anyHole.FindAllStringIndex(text, -1) {
		if text[found[0]:found[1]] != hole || bare[found[0]:found[1]] != hole {
			return nil, fmt.Errorf("%q: a parameter stands as {}, without quotes around it", strings.TrimSpace(text))
		}
		e.holes = append(e.holes, found[0])
	}
	_, err := e.fill(make([]string, len(e.holes)))
	return e, err
}

// fill returns the condition as SQL for the server, with parameters as text.
func (e *etlCondition) fill(params []string) (string, error) {
	if len(params) != len(e.holes) {
		return "", fmt.Errorf("%q: want %d parameters, one for each {}, got %d", strings.TrimSpace(e.text), len(e.holes), len(params))
	}
	var b strings.Builder
	last := 0
	for i, at := range e.holes {
		b.WriteString(e.text[last:at])
		b.WriteString("'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(params[i]) + "'")
		last = at + len(hole)
	}
	b.WriteString(e.text[last:])
	where, err := e.parse(b.String())
	if err != nil {
		return "", err
	}
	if err := e.own(where); err != nil {
		return "", err
	}
	var out strings.Builder
	if err := where.Restore(format.NewRestoreCtx(restoreFlags, &out)); err != nil {
		return "", fmt.Errorf("cannot be written for the server: %w", err)
	}
	return out.String(), nil
}

// parse returns the condition of a WHERE that stands alone.
func (e *etlCondition) parse(text string) (where ast.ExprNode, err error) {
	defer func() {
		if recover() != nil { // as of Compile
			where, err = nil, errors.New("cannot be parsed; is there a number of more than 81 digits in it?")
		}
	}()
	want := fmt.Errorf(`want "where CONDITION", for example "where %s.created >= {}", got %q`, e.called, strings.TrimSpace(e.text))
	if !strings.EqualFold(firstWord(text), "where") {
		return nil, want
	}
	stmts, _, err := parser.New().ParseSQL("select 1 from t " + text)
	if err != nil || len(stmts) != 1 {
		return nil, want
	}
	s, ok := stmts[0].(*ast.SelectStmt)
	if !ok || s.Where == nil || s.GroupBy != nil || s.Having != nil || s.OrderBy != nil || s.Limit != nil || s.LockInfo != nil || s.SelectIntoOpt != nil || len(s.WindowSpecs) > 0 {
		return nil, want
	}
	return s.Where, nil
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ", "\r", " ", "(", " ").Replace(text)), " ")
	return word
}

// own gives each column its table's name, and refuses what is not of that table.
func (e *etlCondition) own(where ast.ExprNode) (err error) {
	where.Accept(visit{func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SubqueryExpr:
			err = errors.New("a sub-query; write a condition of columns of " + e.called)
		case *ast.VariableExpr:
			err = errors.New("a variable; write the value, or {}")
		case *ast.AggregateFuncExpr, *ast.WindowFuncExpr:
			err = errors.New(describe(n) + "; write a condition of columns of " + e.called)
		case *ast.ColumnName:
			if n.Schema.O != "" || n.Table.O != "" && !strings.EqualFold(n.Table.O, e.called) {
				err = fmt.Errorf("%s is not of %s: a load goes through the rows of that table, whose columns make the id; write %[2]s.COLUMN", n, e.called)
				return false
			}
			n.Table = ast.NewCIStr(e.called)
		}
		return err == nil
	}})
	return err
}

// LoadCondition returns which rows a load of a part takes, as SQL for the server: the etlCondition with its parameters. The error says what
// is wrong with them, or is ErrNoCondition.
func (m *Mapping) LoadCondition(params []string) (string, error) {
	if m.etl == nil {
		return "", ErrNoCondition
	}
	where, err := m.etl.fill(params)
	if err != nil {
		return "", fmt.Errorf("etlCondition: %w", err)
	}
	return where, nil
}

// Called returns the name by which the SQL calls the columns of its table; of several tables, of the one that makes the id.
func (m *Mapping) Called() string { return m.called }

// LoadRows returns the most rows that a load reads, and writes, at once; 0 leaves it to the load.
func (m *Mapping) LoadRows() int { return m.loadRows }
