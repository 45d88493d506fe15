package failpoint

// names are the points of this build. An instrumented build puts the marks that it found here.
var names []string
