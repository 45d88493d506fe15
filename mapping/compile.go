// Package mapping turns rows into changes of documents by a rule that canal's users know: the SQL of one table or of several,
// the name of an index and the name that becomes the document's id. What the server has to render is a Rule.
//
// Compile reads the rule, Bind checks it against a table's definition, Map applies it. A rule is compiled once; what it
// cannot follow exactly as MySQL would, it refuses: the SQL with its place, a definition with table and column, a row by an
// Err in its Change. docs/types.md says what each type of column becomes.
package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // the parser's literals

	"canalgo/event"
)

// A Mapping is one compiled rule. It is safe for several goroutines.
type Mapping struct {
	name  string
	src   source
	table event.TableName
	index string
	id    string // the name in the select list that becomes the document's id
	pk    bool   // id is the table's key, and a field, too
	skips map[string]bool
	// settings are those of fields, by name.
	settings map[string]FieldConfig
	objects  map[string]*objField // by name
	relation *relation            // nil without
	called   string               // the name by which the SQL calls the table's columns
	etl      *etlCondition        // of a load of a part, nil without
	loadRows int                  // of a load at once, 0 without
	aside    int                  // how many documents may be set aside
	items    []item
	where    predicate // nil without
	rule     *Rule     // when the server renders the documents; then items and where are not used
	spare    *Rule     // in place of a WHERE that cannot be decided here; nil when there is none

	bound    atomic.Pointer[binding] // for the definition that was met last
	nulled   atomic.Uint64
	clipped  atomic.Uint64
	bodySize atomic.Int64 // mean size of a body, to allocate the right amount

	fresh    newColumns
	accepted atomic.Pointer[event.Table] // the definition that was accepted last
	metLock  sync.Mutex
	met      []Field // of all definitions
	meetings atomic.Uint64
}

// An item is one entry of the select list.
type item struct {
	name  string // in the document; "" for *
	parts []part // one column, or what concat puts together; none for *
	at    int    // place in the SQL
}

// A part is a column, or text between columns.
type part struct {
	column columnRef
	text   string
	isText bool
}

// A columnRef names a column at a place in the SQL.
type columnRef struct {
	name string
	at   int
}

// Compile reads a rule. The SQL's table is in defaultSchema if it names none. The error is a *SQLError when a place in
// the SQL is wrong, and joins all of them that concern the settings.
func Compile(name string, cfg Config, defaultSchema string) (*Mapping, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		for i, err := range errs {
			errs[i] = &configError{mapping: name, err: err}
		}
		return nil, errors.Join(errs...)
	}
	m := &Mapping{name: name, src: newSource(name, cfg.SQL), index: cfg.Index, id: cfg.idName(), pk: cfg.PK != "", skips: map[string]bool{}, settings: cfg.Fields,
		objects: map[string]*objField{}, relation: relationOf(cfg), loadRows: cfg.CommitBatch, aside: cmp.Or(cfg.Quarantine, defaultQuarantine)}
	for name, said := range cfg.ObjFields {
		m.objects[name], _ = parseObjField(said) // Validate has looked at it
	}
	for _, skip := range cfg.Skips {
		m.skips[skip] = true
	}
	if len(cfg.Parts) > 0 {
		rule, err := m.compileGroup(cfg, defaultSchema)
		if err == nil {
			err = m.checkNames(rule)
		}
		if err != nil {
			return nil, err
		}
		m.use(rule)
		if err := m.chooseNew(cfg.OnNewColumn); err != nil {
			return nil, err
		}
		return m, nil
	}
	stmt, err := m.parse()
	if err != nil {
		return nil, err
	}
	switch err := m.compilePlain(stmt, defaultSchema); err {
	case nil:
		if m.where != nil {
			m.spare, _ = m.compileRule(stmt, defaultSchema)
		}
	case errNotPlain:
		if m.rule, err = m.compileRule(stmt, defaultSchema); err != nil {
			return nil, err
		}
		m.use(m.rule)
		m.called = m.rule.anchor.name
	default:
		return nil, err
	}
	if strings.TrimSpace(cfg.EtlCondition) != "" {
		if m.etl, err = compileEtl(cfg.EtlCondition, m.called); err != nil {
			return nil, &configError{mapping: name, err: fmt.Errorf("etlCondition: %w", err)}
		}
	}
	if err := m.chooseNew(cfg.OnNewColumn); err != nil {
		return nil, err
	}
	return m, nil
}

// errNotPlain says that the documents cannot be made of single rows here: the server has to render them.
var errNotPlain = errors.New("not of single rows")

// compilePlain reads a SELECT whose documents can be made of single rows. Whatever it cannot follow is errNotPlain: what is wrong with
// that, the rule says.
func (m *Mapping) compilePlain(stmt *ast.SelectStmt, defaultSchema string) error {
	if stmt.Distinct || stmt.GroupBy != nil || stmt.Having != nil {
		return errNotPlain
	}
	alias, err := m.compileFrom(stmt, defaultSchema)
	if err != nil {
		return err
	}
	m.called = cmp.Or(alias, m.table.Name)
	scope := scope{table: m.table, alias: alias}
	if err := m.compileFields(scope, stmt.Fields); err != nil {
		return err
	}
	if stmt.Where != nil {
		m.where, err = scope.compileCondition(stmt.Where)
	}
	return err
}

// use has the server render the documents.
func (m *Mapping) use(r *Rule) {
	m.rule, m.items, m.where, m.table = r, nil, nil, r.anchor.table
}

// Render has the server render the documents when err, of Bind, says that its WHERE cannot be decided from rows. It reports whether it
// does so now; the mapping is then bound to a Result.
func (m *Mapping) Render(err error) bool {
	var undecided *undecidedError
	if !errors.As(err, &undecided) || m.spare == nil || m.fresh.choice == ignoreNew && m.takesAll() {
		return false
	}
	m.use(m.spare)
	return true
}

// undecidedError says that a comparison is not made here as MySQL makes it.
type undecidedError struct{ *event.StopError }

func (e *undecidedError) Unwrap() error { return e.StopError }

// configError names the mapping whose settings are wrong.
type configError struct {
	mapping string
	err     error
}

func (e *configError) Error() string { return "mapping " + e.mapping + ": " + e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// Table returns the table that the mapping reads; of several, the one whose columns make the document's id.
func (m *Mapping) Table() event.TableName { return m.table }

// Tables returns the tables whose rows the documents are made of.
func (m *Mapping) Tables() []event.TableName {
	if m.rule != nil {
		return m.rule.Tables()
	}
	return []event.TableName{m.table}
}

// Rule returns what the source's server is asked for; nil when documents are made of single rows.
func (m *Mapping) Rule() *Rule { return m.rule }

// Index returns the index that the mapping writes.
func (m *Mapping) Index() string { return m.index }

// Filters reports whether the mapping has a WHERE.
func (m *Mapping) Filters() bool { return m.where != nil }

// Nulled returns how many values were written as null that are not NULL: dates of no calendar, and what the settings of fields say.
func (m *Mapping) Nulled() uint64 { return m.nulled.Load() }

// Clipped returns how many values were clipped, as the settings of their fields say.
func (m *Mapping) Clipped() uint64 { return m.clipped.Load() }

// MaxQuarantine returns how many documents of the mapping may be set aside.
func (m *Mapping) MaxQuarantine() int { return m.aside }

// parse returns the one SELECT that the SQL consists of.
func (m *Mapping) parse() (*ast.SelectStmt, error) {
	stmts, err := m.statements()
	if err != nil {
		return nil, err
	}
	if len(stmts) == 0 {
		return nil, m.src.errorAt(0, "there is no statement; write select NAMES from TABLE")
	}
	if len(stmts) > 1 {
		return nil, m.src.errorAt(m.src.find(";", 0)+1, "a second statement; one SELECT makes the documents")
	}
	switch stmt := stmts[0].(type) {
	case *ast.SelectStmt:
		if stmt.Kind != ast.SelectStmtKindSelect {
			return nil, m.src.errorAt(0, "write it as select NAMES from TABLE")
		}
		return stmt, m.refuseClauses(stmt)
	case *ast.SetOprStmt:
		return nil, m.src.errorAt(m.src.find(`\b(union|except|intersect)\b`, 0),
			"a row of a UNION cannot be told from a row event of one table; use one mapping for each SELECT")
	}
	return nil, m.src.errorAt(0, "not a SELECT; write select NAMES from TABLE")
}

// statements parses the SQL. The parser panics on some of it: a number of more than 81 digits, for one.
func (m *Mapping) statements() (stmts []ast.StmtNode, err error) {
	defer func() {
		if recover() != nil {
			stmts, err = nil, m.src.errorAt(0, "cannot be parsed; is there a number of more than 81 digits in it?")
		}
	}()
	if stmts, _, err = parser.New().ParseSQL(m.src.sql); err != nil {
		return nil, m.syntaxError(err)
	}
	return stmts, nil
}

// quotedByParser is how many bytes of the SQL the parser's error quotes; of a longer rest it says the length.
const quotedByParser = 2048

// syntaxError turns the parser's error into a place: the parser quotes the rest of the SQL from the token that it could not
// use.
func (m *Mapping) syntaxError(err error) error {
	text := err.Error()
	_, rest, ok := strings.Cut(text, `near "`)
	if open := strings.LastIndex(m.src.sql, "/*"); !ok && open >= 0 {
		return m.src.errorAt(open, "the comment is not closed; */ is missing")
	}
	if !ok {
		return m.src.errorAt(0, "%s", text)
	}
	reason := "syntax error"
	if !m.src.has(`\bfrom\b`) {
		reason += "; there is no FROM"
	}
	at := max(0, len(m.src.sql)-quotedByParser)
	if _, length, long := strings.Cut(text, "(total length "); long {
		if n, err := strconv.Atoi(strings.TrimRight(length, ") ")); err == nil && n <= len(m.src.sql) {
			return m.src.errorAt(len(m.src.sql)-n, "%s", reason)
		}
	}
	for at < len(m.src.sql) && !strings.HasPrefix(rest, m.src.sql[at:]) {
		at++
	}
	if strings.TrimSpace(m.src.sql[at:]) == "" {
		return m.src.errorAt(len(m.src.sql), "syntax error: the statement is not complete")
	}
	return m.src.errorAt(at, "%s", reason)
}

// refuseClauses refuses the clauses of a SELECT that say something about several rows, or about time.
func (m *Mapping) refuseClauses(stmt *ast.SelectStmt) error {
	const manyRows = "which documents it selects depends on other rows, so it cannot be followed row by row"
	refuse := func(pattern, reason string) error { return m.src.errorAt(m.src.find(pattern, 0), "%s", reason) }
	switch {
	case stmt.With != nil:
		return refuse(`\bwith\b`, "WITH is not supported; write the sub-query into FROM")
	case stmt.From == nil:
		return m.src.errorAt(len(m.src.sql), "there is no FROM; write select NAMES from TABLE")
	case len(stmt.WindowSpecs) > 0:
		return refuse(`\bwindow\b`, "WINDOW: "+manyRows)
	case stmt.OrderBy != nil:
		return refuse(`\border\s+by\b`, "ORDER BY has no meaning: documents have no order; leave it out")
	case stmt.Limit != nil:
		return refuse(`\b(limit|fetch)\b`, "LIMIT: "+manyRows)
	case stmt.LockInfo != nil:
		return refuse(`\b(for\s+(update|share)|lock\s+in)\b`, "a lock has no meaning here; leave it out")
	case stmt.SelectIntoOpt != nil:
		return refuse(`\binto\b`, "INTO is not supported; the documents go to _index")
	}
	return nil
}

// compileFrom sets the mapping's table and returns the name that columns may be qualified with.
func (m *Mapping) compileFrom(stmt *ast.SelectStmt, defaultSchema string) (alias string, err error) {
	from, table, ok := onlyTable(stmt.From)
	if !ok {
		return "", errNotPlain
	}
	if _, reason := refusedTable(table); reason != "" {
		return "", errNotPlain
	}
	m.table = event.TableName{Schema: cmp.Or(table.Schema.O, defaultSchema), Name: table.Name.O}
	if m.table.Schema == "" {
		return "", errNotPlain
	}
	return from.AsName.O, nil
}

// compileFields reads the select list.
func (m *Mapping) compileFields(scope scope, fields *ast.FieldList) error {
	seen := map[string]bool{}
	wildcard := false
	for _, field := range fields.Fields {
		it, err := scope.compileField(field)
		if err != nil {
			return err
		}
		if it.name == "" {
			wildcard = true
			m.items = append(m.items, it)
			continue
		}
		if seen[it.name] || len(it.parts) > 1 && (it.name != m.id || m.pk) && !m.skipsParent(it.name) {
			return errNotPlain
		}
		seen[it.name] = true
		m.items = append(m.items, it)
	}
	if !seen[m.id] && !wildcard {
		for i := range m.items {
			if strings.EqualFold(m.items[i].name, m.id) {
				m.id = m.items[i].name
				return m.checkSkips(seen, wildcard)
			}
		}
		return errNotPlain
	}
	return m.checkSkips(seen, wildcard)
}

// checkSkips finds skips that skip nothing, and settings of fields that are not there. What * gives is known only with the table's definition.
func (m *Mapping) checkSkips(seen map[string]bool, wildcard bool) error {
	if wildcard {
		return nil
	}
	for skip := range m.skips {
		if !seen[skip] {
			return &configError{mapping: m.name, err: errors.New("skips: " + skip + " is not a name in the select list")}
		}
	}
	if key, reason := m.badSetting(seen); reason != "" {
		return &configError{mapping: m.name, err: errors.New(key + ": " + reason)}
	}
	return nil
}
