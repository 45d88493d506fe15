package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Config is what a mapping's section says about documents. The keys are canal's.
type Config struct {
	SQL   string   `toml:"sql" json:"sql"`                         // select NAMES from one table [where ...]
	Index string   `toml:"_index" json:"_index"`                   // where the documents go
	ID    string   `toml:"_id" json:"_id,omitempty"`               // the name in the select list that becomes the document's id; "_id" when empty
	Skips []string `toml:"skips,omitempty" json:"skips,omitempty"` // names of the select list that are not stored
	PK    string   `toml:"pk,omitempty" json:"pk,omitempty"`       // in place of _id: the name that holds the table's key, which is stored, too
	// Fields says how single fields are written, by their names in the document.
	Fields map[string]FieldConfig `toml:"fields,omitempty" json:"fields,omitempty"`
	// ObjFields says which texts become arrays or objects, by their names in the document: "array:SEPARATOR" or "object".
	ObjFields map[string]string `toml:"objFields,omitempty" json:"objFields,omitempty"`
	// Upsert says that mappings of other names write the same documents: package config makes one of them, with Parts.
	Upsert bool `toml:"upsert,omitempty" json:"upsert,omitempty"`
	// Parts are further SELECTs of the documents, by names of their own: each gives fields by the same ids.
	Parts map[string]string `toml:"parts,omitempty" json:"parts,omitempty"`
	// Relations is the join field of a document, by its name: one, of which the document is a parent, or a child.
	Relations map[string]RelationConfig `toml:"relations,omitempty" json:"relations,omitempty"`
	// EtlCondition says which rows a load of a part takes: "where a.created >= {}", each {} a parameter of the load.
	EtlCondition string `toml:"etlCondition,omitempty" json:"etlCondition,omitempty"`
	// CommitBatch is how many rows a load reads and writes at once; 0 leaves it to the load.
	CommitBatch int `toml:"commitBatch,omitempty" json:"commitBatch,omitempty"`
	// OnNewColumn says what becomes of a column that a table gets later: "ignore", "add", "pause"; "" leaves it to the SQL.
	OnNewColumn string `toml:"on_new_column,omitempty" json:"on_new_column,omitempty"`
	// Quarantine is how many documents may be set aside before the mapping stops; 0 stands for defaultQuarantine.
	Quarantine int `toml:"quarantine,omitempty" json:"quarantine,omitempty"`
}

// RefusedKeys returns why keys of canal are not among these.
func (Config) RefusedKeys() map[string]string {
	return map[string]string{
		"_type":           "Elasticsearch 7 has no types; leave it out",
		"syncByTimestamp": "every change is followed as it comes; leave it out",
		"syncInterval":    "every change is followed as it comes; leave it out",
	}
}

// How many documents of a mapping may be set aside.
const (
	defaultQuarantine = 10_000
	maxQuarantine     = 50_000
)

// maxCommitBatch bounds what a load holds in memory.
const maxCommitBatch = 10_000

// maxSQLBytes bounds what a mistaken file can make the parser do.
const maxSQLBytes = 64 << 10

// idName is the name of the select list that becomes the document's id.
func (c Config) idName() string {
	return cmp.Or(c.ID, c.PK, "_id")
}

// Validate says what is wrong with the settings by themselves, each error beginning with its key. Compile looks at the SQL.
func (c Config) Validate() []error {
	var errs []error
	if strings.TrimSpace(c.SQL) == "" {
		errs = append(errs, errors.New(`sql: missing; write for example sql = "select u.id as _id, u.name from user u"`))
	}
	for key, text := range map[string]string{"sql": c.SQL, "etlCondition": c.EtlCondition} {
		if len(text) > maxSQLBytes {
			errs = append(errs, fmt.Errorf("%s: %d bytes, at most %d", key, len(text), maxSQLBytes))
		}
	}
	if reason := badIndexName(c.Index); reason != "" {
		errs = append(errs, fmt.Errorf("_index: %s", reason))
	}
	if c.Quarantine < 0 || c.Quarantine > maxQuarantine {
		errs = append(errs, fmt.Errorf("quarantine: want 1 to %d, or 0 for %d, got %d", maxQuarantine, defaultQuarantine, c.Quarantine))
	}
	if c.CommitBatch < 0 || c.CommitBatch > maxCommitBatch {
		errs = append(errs, fmt.Errorf("commitBatch: want 1 to %d, or 0 for as many as are best, got %d", maxCommitBatch, c.CommitBatch))
	}
	if c.PK != "" && c.ID != "" {
		errs = append(errs, fmt.Errorf("pk: the documents' id is %q by _id already; leave one of the two out", c.ID))
	}
	for i, name := range c.Skips {
		if name == "" {
			errs = append(errs, fmt.Errorf("skips[%d]: empty name", i))
		}
	}
	if c.OnNewColumn != "" && !slices.Contains(newColumnChoices, c.OnNewColumn) {
		errs = append(errs, fmt.Errorf("on_new_column: want one of %s, got %q", strings.Join(newColumnChoices, ", "), c.OnNewColumn))
	}
	return slices.Concat(errs, c.validateFields(), c.validateObjFields(), c.validateRelations(), c.validateParts())
}

// badIndexName says why Elasticsearch would refuse an index of that name, or "".
func badIndexName(name string) string {
	switch {
	case name == "":
		return "missing; it names the index that the documents go to"
	case name == "." || name == "..":
		return fmt.Sprintf("%q is not a name of an index", name)
	case len(name) > 255:
		return fmt.Sprintf("the name has %d bytes, Elasticsearch takes 255", len(name))
	case strings.ContainsAny(name[:1], "-_+"):
		return fmt.Sprintf("%q begins with %q, which Elasticsearch refuses", name, name[:1])
	case strings.ToLower(name) != name:
		return fmt.Sprintf("%q has upper-case letters, which Elasticsearch refuses; write %q", name, strings.ToLower(name))
	}
	if i := strings.IndexAny(name, "\\/*?\"<>| ,#:\t\n\r"); i >= 0 {
		return fmt.Sprintf("%q contains %q, which Elasticsearch refuses", name, name[i])
	}
	return ""
}
