package failpoint

import "net/http"

// Register gives a plain build points to test with.
func Register(names ...string) { register(names) }

// Handler answers as an instrumented process does.
var Handler = http.HandlerFunc(answer)
