package exporter

import (
	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// maxLabels is how many labels a point has at most.
const maxLabels = 11 + maxMore

// label of a point.
type label struct{ key, value string }

// labels of a sample that are not empty, in a buffer that is used again for the
// next sample.
type labels struct {
	pairs [maxLabels]label
	n     int
	// source is the key under which a MOS says how it was made.
	source string
	// more are labels of every sample.
	more []label
}

// of sets the labels that all points of s share.
func (l *labels) of(s *fsagentv1.Sample) {
	l.n = copy(l.pairs[:], l.more)
	if s.GetPartial() {
		l.add("partial", "true")
	}
	l.add("fs_instance", s.GetFsInstance())
	l.add("channel_id", s.GetChannelId())
	l.add("correlation_id", s.GetCorrelationId())
	l.add("call_id", s.GetCallId())
	l.add("domain_name", s.GetDomainName())
	if s.HasReport() {
		l.source = "mos_model"
		l.add("direction", sample.DirectionName(s.GetDirection()))
		l.add("media", s.GetMedia())
		return
	}
	l.source = "mos_source"
	l.add("codec_name", s.GetCodecName())
	l.add("src_ip", s.GetSrcIp())
	l.add("dst_ip", s.GetDstIp())
}

func (l *labels) add(key, value string) {
	if value != "" {
		l.pairs[l.n] = label{key, value}
		l.n++
	}
}

// with returns the shared labels and those of one value, until the next call.
func (l *labels) with(d fsagentv1.Direction, m fsagentv1.MosSource) []label {
	shared := l.n
	l.add("direction", sample.DirectionName(d))
	l.add(l.source, sample.MOSSourceName(m))
	all := l.pairs[:l.n]
	l.n = shared
	return all
}

// size is an upper bound for the bytes of the labels of one point on the wire,
// with those of its own value.
func (l *labels) size() int {
	n := pairSize("direction", "outbound") + pairSize("mos_source", "freeswitch")
	for _, p := range l.pairs[:l.n] {
		n += pairSize(p.key, p.value)
	}
	return n
}

// pairSize is an upper bound for one label: tags and lengths of the pair, its
// key, its value and the string in it, of one byte each while all is short.
func pairSize(key, value string) int {
	n := len(key) + len(value)
	if n < 100 {
		return n + 8
	}
	return n + 8 + 3*4
}
