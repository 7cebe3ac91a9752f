// Package sample is what a measurement is to the services: its identity, its
// encoding in batches, the metrics it carries, and a text form for people and
// golden files.
//
// Calculators publish batches of samples, exporters read them. A sample that
// comes twice has the same identity, time and values both times.
package sample

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// ErrBatch is returned for bytes that are not a batch of samples.
var ErrBatch = errors.New("not a batch of samples")

// Kind of a sample.
type Kind uint8

// The kinds. The zero Kind is that of a sample without a body.
const (
	Report Kind = iota + 1 // one RTCP report of one direction
	LegEnd                 // the account of a leg
)

// String is REPORT or LEG_END.
func (k Kind) String() string { return [...]string{"NONE", "REPORT", "LEG_END"}[k] }

// KindOf returns the kind of a sample.
func KindOf(s *fsagentv1.Sample) Kind {
	switch s.WhichBody() {
	case fsagentv1.Sample_Report_case:
		return Report
	case fsagentv1.Sample_LegEnd_case:
		return LegEnd
	}
	return 0
}

// Identity of a sample: no two measurements have the same.
type Identity struct {
	EventID   string // "<Core-UUID>:<Event-Sequence>"
	Kind      Kind
	Direction fsagentv1.Direction
}

// IdentityOf returns the identity of a sample.
func IdentityOf(s *fsagentv1.Sample) Identity {
	return Identity{EventID: s.GetEventId(), Kind: KindOf(s), Direction: s.GetDirection()}
}

// String is "<event id> <kind>[ <direction>]".
func (i Identity) String() string {
	if d := DirectionName(i.Direction); d != "" {
		return i.EventID + " " + i.Kind.String() + " " + d
	}
	return i.EventID + " " + i.Kind.String()
}

// DirectionName is the value of the label direction; "" for the whole leg.
func DirectionName(d fsagentv1.Direction) string {
	switch d {
	case fsagentv1.Direction_DIRECTION_INBOUND:
		return "inbound"
	case fsagentv1.Direction_DIRECTION_OUTBOUND:
		return "outbound"
	}
	return ""
}

const samplesField = 1 // SampleBatch.samples

// Append adds one sample to an encoded SampleBatch; nil is an empty one. Equal
// samples give equal bytes. It fails only for text that is not UTF-8.
func Append(batch []byte, s *fsagentv1.Sample) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true}
	size := options.Size(s)
	out := protowire.AppendTag(batch, samplesField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	options.UseCachedSize = true
	out, err := options.MarshalAppend(out, s)
	if err != nil {
		return batch, fmt.Errorf("encode sample %s: %w", IdentityOf(s), err)
	}
	return out, nil
}

// Encode makes a SampleBatch of samples, in order. It fails as Append does.
func Encode(samples []*fsagentv1.Sample) (batch []byte, err error) {
	for _, s := range samples {
		if batch, err = Append(batch, s); err != nil {
			return nil, err
		}
	}
	return batch, nil
}

// Decode reads a SampleBatch. It returns an error wrapping ErrBatch for bytes
// that are none.
func Decode(batch []byte) ([]*fsagentv1.Sample, error) {
	m := &fsagentv1.SampleBatch{}
	if err := proto.Unmarshal(batch, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	return m.GetSamples(), nil
}
