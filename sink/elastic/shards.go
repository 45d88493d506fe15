package elastic

import (
	"context"
	"fmt"
	"math/bits"
	"unicode/utf16"

	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"
)

// shards says which shard of an index a routing leads to. On one shard an id is one document, whatever its routing; on two it is two, each
// with versions of its own.
type shards struct{ slots, slotsPerShard uint32 }

// shardsOf asks how an index is divided. An index that is made anew may be divided in another way, so it is asked each time.
func (s *Sink) shardsOf(ctx context.Context, index string) (shards, error) {
	answer, err := s.do(ctx, esapi.ClusterStateRequest{Metric: []string{"metadata"}, Index: []string{index},
		FilterPath: []string{"metadata.indices.*.routing_num_shards", "metadata.indices.*.settings.index.number_of_shards"}})
	if err != nil {
		return shards{}, fmt.Errorf("shards of index %s: %w", index, err)
	}
	var slots, number uint64
	gjson.GetBytes(answer, "metadata.indices").ForEach(func(_, v gjson.Result) bool {
		slots, number = v.Get("routing_num_shards").Uint(), v.Get("settings.index.number_of_shards").Uint()
		return false
	})
	if number == 0 || slots == 0 || slots%number != 0 {
		return shards{}, fmt.Errorf("shards of index %s: elasticsearch tells %d shards and %d slots", index, number, slots)
	}
	return shards{uint32(slots), uint32(slots / number)}, nil
}

// of returns the shard of a routing: floorMod(murmur3(routing), slots) / slotsPerShard, as Elasticsearch's OperationRouting has it.
func (s shards) of(routing string) uint32 {
	slots := int64(s.slots)
	return uint32((int64(int32(murmur3(routing)))%slots+slots)%slots) / s.slotsPerShard
}

// murmur3 is MurmurHash3_x86_32 with seed 0 of a text in UTF-16, little endian: what Elasticsearch hashes.
func murmur3(text string) uint32 {
	units := utf16.Encode([]rune(text))
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }
	var h uint32
	for i := 0; i+1 < len(units); i += 2 {
		h = bits.RotateLeft32(h^mix(uint32(units[i])|uint32(units[i+1])<<16), 13)*5 + 0xe6546b64
	}
	if len(units)%2 == 1 {
		h ^= mix(uint32(units[len(units)-1]))
	}
	h ^= uint32(2 * len(units))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
