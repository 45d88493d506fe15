package config

import (
	"strings"

	"canalgo/sink/elastic"
	"canalgo/sink/logger"
)

// A Section is a struct with toml keys that can say what is wrong with itself: each error begins with the key.
type Section interface{ Validate() []error }

// A Sink is one [sink.NAME].
type Sink struct {
	Type     string  // "elasticsearch", "logger"
	Settings Section // *elastic.Config, *logger.Config
}

// A sinkType is what is known of one type of sink.
type sinkType struct {
	defaults func() Section
	// places names what is written to, such that two sinks with a place in common can write the same document; nil when
	// nothing can be overwritten.
	places func(settings Section) []string
}

var sinkTypes = map[string]sinkType{
	"elasticsearch": {
		defaults: func() Section { c := elastic.Defaults(); return &c },
		places: func(settings Section) []string {
			var places []string
			for _, address := range settings.(*elastic.Config).Addresses {
				places = append(places, strings.ToLower(strings.TrimRight(address, "/")))
			}
			return places
		},
	},
	"logger": {
		defaults: func() Section { c := logger.Defaults(); return &c },
	},
}

func (s Sink) places() []string {
	if places := sinkTypes[s.Type].places; places != nil {
		return places(s.Settings)
	}
	return nil
}
