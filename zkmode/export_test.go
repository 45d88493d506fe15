package zkmode

// DecodeEntry reads an entry of the log and writes it again.
func DecodeEntry(data []byte) ([]byte, error) {
	e, err := decodeEntry(data)
	return e.encode(), err
}

// ParseCandidate takes the name of a candidate's znode apart.
func ParseCandidate(znode string) (serverID string, number uint64, ok bool) {
	c, ok := parseCandidate(znode)
	return c.serverID, c.number, ok
}
