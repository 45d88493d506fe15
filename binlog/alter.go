package binlog

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"canalgo/event"
)

// alter works out an ALTER TABLE.
func (r *redefinition) alter(n *ast.AlterTableStmt) {
	table := r.name(n.Table)
	before, ok := r.at(table)
	if ok && before.Unknown == "" {
		if err := r.certain(); err != nil {
			r.unknown(table, err)
		} else if after, changes, err := r.altered(before, n.Specs); err != nil {
			r.unknown(table, err)
		} else if changes {
			r.set(after)
		}
	} else if ok && slices.ContainsFunc(n.Specs, redefines) { // nobody knew it, and now it is yet another one
		r.unknown(table, uncertainf("the definition before was not known either"))
	}
	for _, spec := range n.Specs {
		if spec.Tp == ast.AlterTableRenameTable {
			r.rename(table, r.name(spec.NewTable))
		}
	}
}

// redefines reports whether a part of an ALTER TABLE changes columns, their order, the primary key or the default collation, or
// may do so.
func redefines(spec *ast.AlterTableSpec) bool {
	switch spec.Tp {
	case ast.AlterTableOption:
		return slices.ContainsFunc(spec.Options, func(o *ast.TableOption) bool {
			return o.Tp == ast.TableOptionCharset || o.Tp == ast.TableOptionCollate
		})
	case ast.AlterTableAddConstraint:
		return spec.Constraint != nil && spec.Constraint.Tp == ast.ConstraintPrimaryKey
	case ast.AlterTableDropIndex:
		return dropsKey(spec)
	case ast.AlterTableRenameTable, ast.AlterTableDropForeignKey, ast.AlterTableAlterColumn, ast.AlterTableLock,
		ast.AlterTableAlgorithm, ast.AlterTableRenameIndex, ast.AlterTableForce, ast.AlterTableAddPartitions,
		ast.AlterTableCoalescePartitions, ast.AlterTableDropPartition, ast.AlterTableTruncatePartition, ast.AlterTablePartition,
		ast.AlterTableEnableKeys, ast.AlterTableDisableKeys, ast.AlterTableRemovePartitioning, ast.AlterTableWithValidation,
		ast.AlterTableWithoutValidation, ast.AlterTableSecondaryLoad, ast.AlterTableSecondaryUnload, ast.AlterTableRebuildPartition,
		ast.AlterTableReorganizePartition, ast.AlterTableCheckPartitions, ast.AlterTableExchangePartition, ast.AlterTableOptimizePartition,
		ast.AlterTableRepairPartition, ast.AlterTableImportPartitionTablespace, ast.AlterTableDiscardPartitionTablespace,
		ast.AlterTableAlterCheck, ast.AlterTableDropCheck, ast.AlterTableImportTablespace, ast.AlterTableDiscardTablespace,
		ast.AlterTableIndexInvisible, ast.AlterTableOrderByColumns:
		return false
	}
	return true
}

// dropsKey reports whether a part of an ALTER TABLE drops the primary key, which is an index of that name, too.
func dropsKey(spec *ast.AlterTableSpec) bool {
	return spec.Tp == ast.AlterTableDropPrimaryKey || spec.Tp == ast.AlterTableDropIndex && isPrimary(spec.Name)
}

func isPrimary(index string) bool { return strings.EqualFold(index, "PRIMARY") }

// An alteration is a column on its way through an ALTER TABLE. The server looks names up among those of before when it drops and
// changes, and among those of after when it places: so two columns can exchange their names in one statement.
type alteration struct {
	column  event.Column
	was     string // its name before; "" for a new one
	named   bool   // a part of the statement is about it
	dropped bool
}

// altered returns a definition after the parts of an ALTER TABLE, and whether one of them changes it.
func (r *redefinition) altered(d event.Definition, specs []*ast.AlterTableSpec) (after event.Definition, changes bool, err error) {
	specs = slices.DeleteFunc(slices.Clone(specs), func(s *ast.AlterTableSpec) bool { return !redefines(s) })
	if len(specs) == 0 {
		return d, false, nil
	}
	if d.Gone() {
		return d, false, uncertainf("there should be no such table")
	}
	columns := make([]*alteration, len(d.Table.Columns))
	for i, c := range d.Table.Columns {
		columns[i] = &alteration{column: c, was: c.Name}
	}
	before := slices.Clone(columns)
	collation := d.Collation
	for _, spec := range specs { // the default counts for all columns of the statement, wherever it stands
		if spec.Tp == ast.AlterTableOption {
			if collation, err = r.tableCollation(collation, spec.Options); err != nil {
				return d, false, err
			}
		}
	}
	if len(specs) > 1 && slices.ContainsFunc(specs, func(s *ast.AlterTableSpec) bool { return converts(s.Options) }) {
		return d, false, uncertainf("it converts columns and does more")
	}
	for _, spec := range specs {
		if err := r.replace(before, spec, collation); err != nil {
			return d, false, err
		}
	}
	columns = slices.DeleteFunc(columns, func(a *alteration) bool { return a.dropped })
	for _, spec := range specs {
		if columns, err = r.placed(columns, before, spec, collation); err != nil {
			return d, false, err
		}
	}
	return r.assembled(d, columns, before, specs, collation)
}

// replace does what a part says about a column that was there.
func (r *redefinition) replace(before []*alteration, spec *ast.AlterTableSpec, collation string) error {
	name := ""
	switch spec.Tp {
	case ast.AlterTableOption:
		return convert(before, spec.Options, collation)
	case ast.AlterTableDropColumn, ast.AlterTableRenameColumn, ast.AlterTableChangeColumn:
		name = spec.OldColumnName.Name.O
	case ast.AlterTableModifyColumn:
		name = spec.NewColumns[0].Name.Name.O
	case ast.AlterTableAddColumns, ast.AlterTableAddConstraint, ast.AlterTableDropPrimaryKey, ast.AlterTableDropIndex:
		return nil
	default:
		return uncertainf("a part of it is not known here")
	}
	i := find(before, name, func(a *alteration) string { return a.was })
	if i < 0 {
		if spec.IfExists {
			return nil
		}
		return uncertainf("there should be no column %s", name)
	}
	a := before[i]
	if a.named {
		return uncertainf("column %s is named twice", name)
	}
	a.named = true
	var err error
	switch spec.Tp {
	case ast.AlterTableDropColumn:
		a.dropped = true
	case ast.AlterTableRenameColumn:
		a.column.Name = spec.NewColumnName.Name.O
	default:
		a.column, err = r.column(spec.NewColumns[0], collation)
	}
	return err
}

// convert does CONVERT TO CHARACTER SET, which changes each text column that is not bytes.
func convert(columns []*alteration, options []*ast.TableOption, collation string) error {
	if !converts(options) {
		return nil
	}
	if collation == "" {
		return uncertainf("the collation that it converts to is not known")
	}
	for _, a := range columns {
		if slices.ContainsFunc(a.column.Labels, func(label string) bool { return !ascii(label) }) {
			return uncertainf("labels of column %s are converted", a.was) // MySQL 9.7 leaves their bytes as they were
		}
		if a.column.Charset != "" {
			a.column.Charset, a.column.Collation = charsetOf(collation), collation
		}
	}
	return nil
}

func converts(options []*ast.TableOption) bool {
	return slices.ContainsFunc(options, func(o *ast.TableOption) bool {
		return o.Tp == ast.TableOptionCharset && o.UintValue == ast.TableOptionCharsetWithConvertTo
	})
}

// placed puts new columns, and those that were moved, where a part says.
func (r *redefinition) placed(columns, before []*alteration, spec *ast.AlterTableSpec, collation string) ([]*alteration, error) {
	switch spec.Tp {
	case ast.AlterTableAddColumns:
		for _, n := range spec.NewColumns {
			if spec.IfNotExists && find(before, n.Name.Name.O, func(a *alteration) string { return a.was }) >= 0 {
				continue
			}
			c, err := r.column(n, collation)
			if err != nil {
				return nil, err
			}
			if columns, err = put(columns, &alteration{column: c}, spec.Position); err != nil {
				return nil, err
			}
		}
	case ast.AlterTableChangeColumn, ast.AlterTableModifyColumn:
		if spec.Position == nil || spec.Position.Tp == ast.ColumnPositionNone {
			return columns, nil
		}
		i := find(columns, spec.NewColumns[0].Name.Name.O, func(a *alteration) string { return a.column.Name })
		if i < 0 {
			return columns, nil // IF EXISTS
		}
		moved := columns[i]
		return put(slices.Delete(columns, i, i+1), moved, spec.Position)
	}
	return columns, nil
}

func put(columns []*alteration, a *alteration, at *ast.ColumnPosition) ([]*alteration, error) {
	switch {
	case at == nil || at.Tp == ast.ColumnPositionNone:
		return append(columns, a), nil
	case at.Tp == ast.ColumnPositionFirst:
		return slices.Insert(columns, 0, a), nil
	}
	i := find(columns, at.RelativeColumn.Name.O, func(a *alteration) string { return a.column.Name })
	if i < 0 {
		return nil, uncertainf("there should be no column %s", at.RelativeColumn.Name.O)
	}
	return slices.Insert(columns, i+1, a), nil
}

func find(columns []*alteration, name string, by func(*alteration) string) int {
	return slices.IndexFunc(columns, func(a *alteration) bool { return strings.EqualFold(by(a), name) })
}

// assembled makes a definition of the columns that an ALTER TABLE leaves.
func (r *redefinition) assembled(d event.Definition, columns, before []*alteration, specs []*ast.AlterTableSpec, collation string) (event.Definition, bool, error) {
	var key []string
	for _, i := range d.Table.Key {
		if !before[i].dropped {
			key = append(key, before[i].column.Name)
		}
	}
	for _, spec := range specs {
		if dropsKey(spec) {
			key = nil
		}
	}
	for _, spec := range specs {
		for _, n := range spec.NewColumns {
			if own := keyOf(n); own != nil {
				key = own
			}
		}
		constraints := spec.NewConstraints
		if spec.Constraint != nil {
			constraints = append(slices.Clone(constraints), spec.Constraint)
		}
		if own := keyOfConstraints(constraints); own != nil {
			key = own
		}
	}
	after := event.Definition{Table: event.Table{Name: d.Table.Name}, Collation: collation}
	for _, a := range columns {
		after.Table.Columns = append(after.Table.Columns, a.column)
	}
	return after, true, setKey(&after.Table, key)
}
