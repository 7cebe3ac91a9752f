package calculator

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// assign spreads partitions over members so that their numbers differ by one at
// most. It is rendezvous hashing with a limit: every calculator that sees the
// same members computes the same answer, and when a member comes or goes few of
// the others' partitions move. members must not repeat; their order is of no
// matter.
func assign(members []string, partitions int) map[string][]int {
	type bid struct {
		member    int
		partition int
		weight    uint64
	}
	members = slices.Sorted(slices.Values(members))
	bids := make([]bid, 0, len(members)*partitions)
	for m, name := range members {
		for p := range partitions {
			bids = append(bids, bid{m, p, weight(name, p)})
		}
	}
	slices.SortFunc(bids, func(a, b bid) int {
		return cmp.Or(-cmp.Compare(a.weight, b.weight), cmp.Compare(a.member, b.member), cmp.Compare(a.partition, b.partition))
	})
	out := make(map[string][]int, len(members))
	if len(members) == 0 {
		return out
	}
	least, extra := partitions/len(members), partitions%len(members)
	taken := make([]bool, partitions)
	have := make([]int, len(members))
	for _, b := range bids {
		if taken[b.partition] || have[b.member] > least {
			continue
		}
		if have[b.member] == least {
			if extra == 0 {
				continue
			}
			extra--
		}
		have[b.member]++
		taken[b.partition] = true
		out[members[b.member]] = append(out[members[b.member]], b.partition)
	}
	for _, p := range out {
		slices.Sort(p)
	}
	return out
}

func weight(member string, partition int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(member))
	h.Write([]byte{'/'})
	h.Write(strconv.AppendInt(nil, int64(partition), 10))
	// FNV's high bits say little about the last bytes written: mix them in.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
