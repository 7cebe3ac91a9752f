package exporter

import (
	"bytes"
	"errors"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldSamples is the number of SampleBatch.samples.
const fieldSamples protowire.Number = 1

var errUndecodable = errors.New("not a sample batch")

// decode a SampleBatch. Where the batch as a whole cannot be read, each sample
// is tried alone, with invalid UTF-8 replaced: bad holds the bytes of those that
// still cannot be read. An error wraps errUndecodable: nothing can be read.
func decode(data []byte) (samples []*fsagentv1.Sample, bad [][]byte, err error) {
	var batch fsagentv1.SampleBatch
	if proto.Unmarshal(data, &batch) == nil {
		return batch.GetSamples(), nil, nil
	}
	for rest := data; len(rest) > 0; {
		num, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, nil, errors.Join(errUndecodable, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, kind, rest[n:])
		if size < 0 {
			return nil, nil, errors.Join(errUndecodable, protowire.ParseError(size))
		}
		field := rest[n : n+size]
		rest = rest[n+size:]
		if num != fieldSamples || kind != protowire.BytesType {
			continue // of a newer version
		}
		body, _ := protowire.ConsumeBytes(field)
		sample := &fsagentv1.Sample{}
		if proto.Unmarshal(repaired(sample.ProtoReflect().Descriptor(), body), sample) != nil {
			bad = append(bad, body)
			continue
		}
		samples = append(samples, sample)
	}
	return samples, bad, nil
}

// repaired returns a copy of an encoded message in which every string is valid
// UTF-8, or the input if it cannot be walked.
func repaired(message protoreflect.MessageDescriptor, data []byte) []byte {
	out := make([]byte, 0, len(data)+16)
	for rest := data; len(rest) > 0; {
		num, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return data
		}
		size := protowire.ConsumeFieldValue(num, kind, rest[n:])
		if size < 0 {
			return data
		}
		whole, value := rest[:n+size], rest[n:n+size]
		rest = rest[n+size:]
		field := message.Fields().ByNumber(num)
		if field == nil || kind != protowire.BytesType {
			out = append(out, whole...)
			continue
		}
		content, _ := protowire.ConsumeBytes(value)
		switch field.Kind() {
		case protoreflect.StringKind:
			content = bytes.ToValidUTF8(content, []byte("\uFFFD"))
		case protoreflect.MessageKind:
			content = repaired(field.Message(), content)
		}
		out = protowire.AppendTag(out, num, kind)
		out = protowire.AppendBytes(out, content)
	}
	return out
}
