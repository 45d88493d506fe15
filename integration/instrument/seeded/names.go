package seeded

// names are the bugs of this build. An instrumented build puts those that it has here.
var names []string
