package replay

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// appendJSON adds a sample as one line of JSON: its time and kind, then the fields
// that are set, by their names in fsagent.proto and in their order there. The same
// sample gives the same bytes. Whole numbers are numbers: none is over 2^53.
func appendJSON(b []byte, s *fsagentv1.Sample) []byte {
	b = append(b, `{"time":"`...)
	b = time.UnixMicro(s.GetTimeUs()).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","kind":"`...)
	b = append(b, sample.KindOf(s).String()...)
	b = append(b, '"')
	b = appendFields(b, s.ProtoReflect())
	return append(b, '}', '\n')
}

// appendFields adds ,"name":value for every field that is set.
func appendFields(b []byte, m protoreflect.Message) []byte {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		b = append(b, ',', '"')
		b = append(b, f.Name()...)
		b = append(b, '"', ':')
		if !f.IsList() {
			b = appendJSONValue(b, f, m.Get(f))
			continue
		}
		b = append(b, '[')
		for j, list := 0, m.Get(f).List(); j < list.Len(); j++ {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendJSONValue(b, f, list.Get(j))
		}
		b = append(b, ']')
	}
	return b
}

func appendJSONValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind:
		start := len(b)
		b = appendFields(b, v.Message())
		if len(b) == start {
			return append(b, '{', '}')
		}
		b[start] = '{' // in the place of the first comma
		return append(b, '}')
	case protoreflect.EnumKind:
		return appendText(b, enumName(f.Enum(), v.Enum()))
	case protoreflect.StringKind:
		return appendText(b, v.String())
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if x := v.Float(); math.IsNaN(x) || math.IsInf(x, 0) {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 64)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	}
	return strconv.AppendInt(b, v.Int(), 10)
}

// enumName is the name as labels have it: without the name of its kind, in lower
// case, g107.1 for MOS_SOURCE_G107_1.
func enumName(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := e.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	if e.Name() == "MosSource" {
		return sample.MOSSourceName(fsagentv1.MosSource(n))
	}
	prefix, _, _ := strings.Cut(string(e.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
}

// appendText adds a JSON string. Nearly all text is plain.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(err) // a string can always be encoded
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}
