package cli

import (
	"flag"
	"os"
	"strings"

	"canalgo/config"
	"canalgo/secret"
)

// tokenVariable names the environment variable that -token falls back to.
const tokenVariable = "CANALGO_TOKEN"

// nodeFlags are the flags of a node that is started.
type nodeFlags struct {
	config, id, data, listen, advertise, join, token *string
	bootstrap                                        *bool
}

func startFlags(flags *flag.FlagSet) nodeFlags {
	text := func(name string) *string { return flags.String(name, "", "") }
	return nodeFlags{config: text("config"), id: text("id"), data: text("data"), listen: text("listen"), advertise: text("advertise"),
		join: text("join"), token: text("token"), bootstrap: flags.Bool("bootstrap", false, "")}
}

// read reads the file, if one is named, and gives the flags the last word.
func (f nodeFlags) read(flags *flag.FlagSet) (Start, error) {
	start := Start{File: config.File{Node: config.DefaultNode(), Coordination: config.DefaultCoordination()}, Path: *f.config, Bootstrap: *f.bootstrap}
	if *f.config != "" {
		file, err := config.Load(*f.config)
		if err != nil {
			return start, fileError(err)
		}
		start.File = file
	}
	node := &start.File.Node
	given := make(map[string]string)
	flags.Visit(func(one *flag.Flag) { given[one.Name] = one.Value.String() })
	for name, key := range map[string]*string{"id": &node.Name, "data": &node.Data, "listen": &node.Listen, "advertise": &node.Advertise, "http": &node.HTTP} {
		if value, ok := given[name]; ok {
			*key = value
		}
	}
	cluster := &start.File.Cluster
	if *f.join != "" {
		cluster.Join = strings.Split(*f.join, ",")
	}
	if err := f.readToken(&start); err != nil {
		return start, err
	}
	for _, section := range []config.Section{*node, *cluster} {
		for _, err := range section.Validate() {
			return start, wrongUse("-%s; canalgo -h lists the flags", err)
		}
	}
	return start, nil
}

// readToken gives -token and the environment the last word on the token.
func (f nodeFlags) readToken(start *Start) error {
	cluster := &start.File.Cluster
	token := *f.token
	if token == "" {
		token = os.Getenv(tokenVariable)
	}
	if token != "" {
		var v secret.Value
		if err := v.UnmarshalText([]byte(token)); err != nil {
			return wrongUse("-token: %s", err)
		}
		if !cluster.Token.IsZero() && !cluster.Token.Equal(v) {
			start.File.Warnings = append(start.File.Warnings, "cluster.token: the file gives one and -token or $"+tokenVariable+" another; the file's does not count")
		}
		cluster.Token = v
	}
	return nil
}
