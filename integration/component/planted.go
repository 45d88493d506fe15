package component

// Planted begins every secret that a test gives to canalgo. It must not be seen in anything that canalgo prints, shows or stores;
// package harness looks for it everywhere.
const Planted = "planted-"

// The accounts that a test gives to canalgo. The one of MySQL may read the binary log and select, nothing else. An Elasticsearch
// that was started without one takes any.
const (
	CanalgoUser     = "canalgo"
	CanalgoPassword = Planted + "mysql-secret"
	ElasticPassword = Planted + "search-secret"
)
