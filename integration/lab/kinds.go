package lab

import "time"

const (
	ms  = time.Millisecond
	sec = time.Second
)

var (
	anyNode = []Target{Leader, Worker, Any}
	someone = []Target{Leader, Worker}
)

// kinds are all faults, with the rows of the fault matrix that they make. What the schedules are drawn from is their weight: a
// fault that costs long seconds by itself is rarer.
var kinds = []kind{
	{"kill", "F1 F5", anyNode, 100 * ms, 3 * sec, 1, nil, kill},
	{"kill-mid-write", "F1 F3 F5", someone, 100 * ms, 3 * sec, 30, []string{"stragglers"}, killMidWrite},
	{"kill-two", "F34", nil, 500 * ms, 3 * sec, 2, []string{"stragglers"}, killTwo},
	{"kill-all", "F6", nil, 100 * ms, 1 * sec, 2, []string{"stragglers"}, killAll},
	{"pause-short", "F7", []Target{Leader}, 200 * ms, 400 * ms, 2, nil, pause},
	{"pause", "F8 F9", anyNode, 1 * sec, 5 * sec, 3, nil, pause},
	{"stop", "F10 F123", anyNode, 100 * ms, 2 * sec, 3, nil, stop},
	{"starve-cpu", "F13", anyNode, 1 * sec, 4 * sec, 2, nil, starve},
	{"limit-memory", "F12", anyNode, 1 * sec, 4 * sec, 2, nil, limitMemory},
	{"limit-files", "F15", anyNode, 1 * sec, 3 * sec, 2, nil, limitFiles},
	{"member", "F118", nil, 3 * sec, 5 * sec, 2, []string{"members"}, member},

	{"cut", "F18 F19", anyNode, 1 * sec, 4 * sec, 4, nil, cut},
	{"cut-all", "F34", nil, 500 * ms, 3 * sec, 2, nil, cutAll},
	{"flap", "F29", anyNode, 2 * sec, 5 * sec, 2, nil, flap},
	{"deaf", "F22 F23", anyNode, 1 * sec, 4 * sec, 2, []string{"ports"}, deaf},
	{"mute", "F22 F23", anyNode, 1 * sec, 4 * sec, 2, []string{"ports"}, mute},
	{"pair-cut", "F24", nil, 1 * sec, 4 * sec, 2, []string{"ports"}, pairCut},
	{"half-open", "F32", anyNode, 1 * sec, 4 * sec, 2, nil, halfOpen},
	{"peer-resets", "F30", nil, 1 * sec, 3 * sec, 2, nil, peerResets},
	{"peer-flips", "F31", nil, 1 * sec, 3 * sec, 2, []string{"ports"}, peerFlips},
	{"peer-truncates", "F31", nil, 1 * sec, 3 * sec, 2, []string{"ports"}, peerTruncates},
	{"peer-delay", "F27", nil, 1 * sec, 4 * sec, 2, []string{"ports"}, peerDelay},
	{"peer-slow", "F26", nil, 1 * sec, 4 * sec, 2, []string{"ports"}, peerSlow},

	{"mysql-freeze", "F49", nil, 1 * sec, 4 * sec, 3, []string{"mysqld"}, mysqlFreeze},
	{"mysql-kill", "F50", nil, 100 * ms, 1 * sec, 2, []string{"mysqld"}, mysqlKill},
	{"dump-kills", "F51", nil, 1 * sec, 4 * sec, 3, nil, dumpKills},
	{"log-rotation", "F55", nil, 1 * sec, 4 * sec, 2, []string{"rotation"}, logRotation},
	{"mysql-read-only", "F56", nil, 500 * ms, 2 * sec, 2, []string{"read_only"}, mysqlReadOnly},
	{"mysql-offline", "F71", nil, 500 * ms, 2 * sec, 2, []string{"offline"}, mysqlOffline},
	{"mysql-cut", "F20", someone, 1 * sec, 4 * sec, 3, nil, mysqlCut},
	{"mysql-stall", "F32", nil, 1 * sec, 4 * sec, 2, []string{"mysql link"}, mysqlStall},
	{"mysql-resets", "F30", nil, 1 * sec, 3 * sec, 2, nil, mysqlResets},
	{"mysql-truncates", "F30 F31", nil, 1 * sec, 3 * sec, 2, []string{"mysql link"}, mysqlTruncates},
	{"mysql-delay", "F27", nil, 1 * sec, 4 * sec, 2, []string{"mysql link"}, mysqlDelay},
	{"mysql-flips", "F66", nil, 1 * sec, 3 * sec, 2, []string{"mysql link"}, mysqlFlips},

	{"elastic-busy", "F74", nil, 1 * sec, 4 * sec, 2, []string{"elastic requests"}, elasticBusy},
	{"elastic-item-faults", "F75 F78", nil, 1 * sec, 5 * sec, 3, []string{"elastic items"}, elasticItemFaults},
	{"elastic-gateway", "F76", nil, 1 * sec, 4 * sec, 3, []string{"elastic requests"}, elasticGateway},
	{"elastic-answers-lost", "F77", nil, 1 * sec, 4 * sec, 3, []string{"elastic answers"}, elasticAnswersLost},
	{"elastic-answers-spoiled", "F79", nil, 1 * sec, 4 * sec, 3, []string{"elastic answers"}, elasticAnswersSpoiled},
	{"elastic-late", "F77 F93", someone, 1 * sec, 4 * sec, 3, []string{"stragglers"}, elasticLate},
	{"elastic-too-large", "F80", nil, 1 * sec, 4 * sec, 2, []string{"elastic requests"}, elasticTooLarge},
	{"elastic-unauthorized", "F96", nil, 500 * ms, 2 * sec, 2, []string{"elastic requests"}, elasticUnauthorized},
	{"elastic-cut", "F21", someone, 1 * sec, 4 * sec, 3, nil, elasticCut},
	{"elastic-block", "F83 F95", nil, 1 * sec, 3 * sec, 2, []string{"elastic blocks"}, elasticBlock},
	{"elastic-freeze", "F93", nil, 1 * sec, 4 * sec, 2, []string{"elasticsearch"}, elasticFreeze},
	{"elastic-kill", "F90", nil, 100 * ms, 500 * ms, 2, []string{"elasticsearch", "stragglers"}, elasticKill},
}

// keeperKinds are the further ones of a cluster in ZooKeeper mode, which make a third of all.
var keeperKinds = []kind{
	{"keeper-kill", "F99", nil, 100 * ms, 3 * sec, 12, []string{"ensemble"}, keeperKill},
	{"keeper-freeze", "F97", nil, 1 * sec, 6 * sec, 10, []string{"ensemble"}, keeperFreeze},
	{"keeper-outage", "F98", nil, 1 * sec, 6 * sec, 8, []string{"ensemble"}, keeperOutage},
	{"keeper-cut", "F100 F101", anyNode, 1 * sec, 6 * sec, 14, []string{"keeper ways"}, keeperCut},
	{"keeper-silent", "F102", nil, 1 * sec, 4 * sec, 8, []string{"keeper ways"}, keeperSilent},
	{"keeper-resets", "F103", nil, 1 * sec, 4 * sec, 8, []string{"keeper ways"}, keeperResets},
	{"keeper-delay", "F27", nil, 1 * sec, 4 * sec, 6, []string{"keeper ways"}, keeperDelay},
	{"keeper-truncates", "F31", nil, 1 * sec, 3 * sec, 6, []string{"keeper ways"}, keeperTruncates},
}
