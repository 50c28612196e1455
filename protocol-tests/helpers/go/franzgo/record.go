package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tifo/protocol-tests/helpers/contract"
)

func toClient(r contract.Record) *kgo.Record {
	record := &kgo.Record{Key: []byte(r.Key), Value: []byte(r.Value), Timestamp: time.UnixMilli(r.Timestamp)}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	return record
}

func fromClient(r *kgo.Record) contract.Record {
	record := contract.Record{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(),
		Key: string(r.Key), Value: string(r.Value), Headers: [][2]string{}}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, [2]string{h.Key, string(h.Value)})
	}
	return record
}

// onCommit looks at every partition's error, too: the reply as a whole may be fine and one partition not.
func onCommit(failed *error) func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) {
	return func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, reply *kmsg.OffsetCommitResponse, err error) {
		if *failed = err; err != nil {
			return
		}
		for _, topic := range reply.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					*failed = err
				}
			}
		}
	}
}
