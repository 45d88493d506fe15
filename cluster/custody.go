package cluster

import "time"

// Custody says who may read a source that programs outside of the cluster read, too.
type Custody struct {
	Ours   bool
	Holder string // host:port of another program that has it; "" when it is ours, or nobody's
	// From is where another program had come to before the source became ours; nil when nobody else has read since this cluster did.
	From *Elsewhere
}

// Elsewhere is a place in a server's log as another program names it. It need not be the end of a transaction.
type Elsewhere struct {
	Address string // host:port of the server
	File    string
	Offset  uint64
	GTIDs   string    // executed set; "" when it is not known
	Time    time.Time // of the event there
}
