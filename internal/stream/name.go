// Package stream knows everything about NATS that the services must agree on:
// streams, subjects, the state bucket and its keys, headers and settings.
// Services publish and consume; only this package names.
//
//	subject                                        who writes    who reads
//	fsagent.events.<partition>.<instance>.<name>   collector     calculator, replay
//	fsagent.samples.<partition>                    calculator    exporter
//	fsagent.samples.retry                          people        exporter
//	fsagent.deadletter                             exporter      people
//
//	key of the bucket FSAGENT_STATE                value
//	meta                                           Meta: partitions and format version
//	owner.<partition>                              OwnerRecord: who, epoch, cursor, published
//	segment.<partition>.<number>                   Segment: states of legs
//	member.<id>                                    a live calculator, with a TTL
package stream

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Streams, the state bucket, and the exporters' shared consumers.
const (
	Events         = "FSAGENT_EVENTS"
	Samples        = "FSAGENT_SAMPLES"
	DeadLetter     = "FSAGENT_DEADLETTER"
	State          = "FSAGENT_STATE"
	ExportConsumer = "fsagent-exporter"
	// ExportAheadConsumer is there while the exporters catch up.
	ExportAheadConsumer = "fsagent-exporter-ahead"

	// DeadLetterSubject is where an exporter parks what no endpoint takes.
	DeadLetterSubject = "fsagent.deadletter"

	// RetrySubject is where samples that were parked go for another attempt. It is
	// none of a partition: those are chains of their calculators.
	RetrySubject = samplesPrefix + "retry"

	eventsPrefix  = "fsagent.events."
	samplesPrefix = "fsagent.samples."
	segmentPrefix = "segment."
)

// StateStream is the stream that the bucket State is made of.
const StateStream = "KV_" + State

// Headers of messages.
const (
	// HeaderThrough of a sample message: the sequence in Events of the last
	// event whose samples are in this message or before it.
	HeaderThrough = "Fsagent-Through"
	// HeaderPart of a sample message: how many samples of the event after that one are
	// in this message or before it. Not there if none are: an event's samples are
	// parted only if they are too many for one message.
	HeaderPart = "Fsagent-Part"
	// HeaderEvents of a sample message: when the stream Events was made of which it
	// speaks. Microseconds since 1970, and one more for each time that the stream has
	// lost its end since.
	HeaderEvents = "Fsagent-Events"
	// HeaderEpoch of a sample message: the epoch of the owner that wrote it.
	HeaderEpoch = "Fsagent-Epoch"
	// HeaderReason of a dead letter: why it was parked.
	HeaderReason = "Fsagent-Reason"
	// HeaderSequence of a dead letter: its sequence in Samples.
	HeaderSequence = "Fsagent-Sequence"
)

// MetaKey holds Meta.
const MetaKey = "meta"

// ErrInstance is returned for the name of a FreeSWITCH server that cannot be
// part of a subject.
var ErrInstance = errors.New("instance name must be 1 to 64 letters, digits, '_' or '-'")

var instanceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CheckInstance returns an error wrapping ErrInstance unless name can stand in
// a subject.
func CheckInstance(name string) error {
	if !instanceForm.MatchString(name) {
		return fmt.Errorf("%q: %w", name, ErrInstance)
	}
	return nil
}

// Partition of a channel: FNV-1a of its Unique-ID, modulo partitions. The same
// id has the same partition for ever, on every machine.
func Partition(uniqueID []byte, partitions int) int {
	h := uint64(14695981039346656037)
	for _, c := range uniqueID {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int((h ^ h>>32) % uint64(partitions))
}

// EventSubject of one event. A name that FreeSWITCH would not use becomes
// "UNKNOWN", so that no event can make an invalid subject.
func EventSubject(partition int, instance string, name []byte) string {
	b := make([]byte, 0, 96)
	b = append(b, eventsPrefix...)
	b = strconv.AppendInt(b, int64(partition), 10)
	b = append(b, '.')
	b = append(b, instance...)
	b = append(b, '.')
	if validEventName(name) {
		b = append(b, name...)
	} else {
		b = append(b, "UNKNOWN"...)
	}
	return string(b)
}

func validEventName(name []byte) bool {
	for _, c := range name {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= 64
}

// Instance returns the FreeSWITCH server of an event subject; ok is false if
// the subject is not one of EventSubject.
func Instance(subject string) (instance string, ok bool) {
	rest, ok := strings.CutPrefix(subject, eventsPrefix)
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, ".")
	if !ok {
		return "", false
	}
	instance, name, ok := strings.Cut(rest, ".")
	return instance, ok && instance != "" && name != "" && !strings.Contains(name, ".")
}

// PartitionOf an event subject; ok is false if the subject is not one of
// EventSubject.
func PartitionOf(subject string) (partition int, ok bool) {
	rest, _ := strings.CutPrefix(subject, eventsPrefix)
	number, _, _ := strings.Cut(rest, ".")
	partition, err := strconv.Atoi(number)
	return partition, err == nil && partition >= 0 && strings.HasPrefix(subject, eventsPrefix)
}

// AllEvents matches the events of all partitions.
const AllEvents = eventsPrefix + ">"

// EventFilter matches the events of one partition.
func EventFilter(partition int) string { return eventsPrefix + strconv.Itoa(partition) + ".>" }

// EventFilterOf matches the events of one partition, of one FreeSWITCH server and
// of one name; "*" is any of them.
func EventFilterOf(partition int, instance, name string) string {
	return eventsPrefix + strconv.Itoa(partition) + "." + instance + "." + name
}

// EventFilterOfAll is EventFilterOf for every partition.
func EventFilterOfAll(instance, name string) string {
	return eventsPrefix + "*." + instance + "." + name
}

// SampleSubject of one partition.
func SampleSubject(partition int) string { return samplesPrefix + strconv.Itoa(partition) }

// SampleFilter matches the samples of all partitions.
const SampleFilter = samplesPrefix + "*"

// OwnerKey of one partition.
func OwnerKey(partition int) string { return "owner." + strconv.Itoa(partition) }

// MemberKey of one calculator.
func MemberKey(id string) string { return "member." + id }

// AllSegments matches the segments of all partitions.
const AllSegments = segmentPrefix + "*.*"

// SegmentFilter matches the segments of one partition.
func SegmentFilter(partition int) string { return segmentPrefix + strconv.Itoa(partition) + ".*" }

// SegmentKey of one segment.
func SegmentKey(partition int, number uint64) string {
	return segmentPrefix + strconv.Itoa(partition) + "." + strconv.FormatUint(number, 10)
}

// SegmentOf a key, or the subject of a key; ok is false if it is no segment's.
func SegmentOf(key string) (partition int, number uint64, ok bool) {
	key, _ = strings.CutPrefix(key, StateSubject(""))
	rest, ok := strings.CutPrefix(key, segmentPrefix)
	if !ok {
		return 0, 0, false
	}
	of, digits, _ := strings.Cut(rest, ".")
	partition, err := strconv.Atoi(of)
	if err != nil || partition < 0 {
		return 0, 0, false
	}
	number, err = strconv.ParseUint(digits, 10, 64)
	return partition, number, err == nil
}

// StateSubject is the subject under which the bucket stores a key.
func StateSubject(key string) string { return "$KV." + State + "." + key }
