// Many clients that create a topic, use it and delete it again, each request sent once: an answer that asks to try again counts.
//
//	churn -bootstrap HOST:PORT -clients 16 -cycles 10000
//
// Prints one JSON line; exit code 1 if anything was refused. Creating and deleting go over one client's connections, using over another's.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	partitions = 2
	used       = 1
	answerMs   = 30_000
	// How many complaints are shown.
	shown = 10
)

type result struct {
	Clients   int     `json:"clients"`
	Cycles    int64   `json:"cycles"`
	Retriable int64   `json:"retriable"`
	Other     int64   `json:"other"`
	Seconds   float64 `json:"seconds"`
}

func main() {
	bootstrap := flag.String("bootstrap", "", "HOST:PORT")
	clients := flag.Int("clients", 16, "clients at a time")
	cycles := flag.Int64("cycles", 10_000, "cycles of all clients together")
	flag.Parse()
	done, err := run(*bootstrap, *clients, *cycles)
	if err != nil {
		fmt.Fprintln(os.Stderr, "churn:", err)
		os.Exit(2)
	}
	_ = json.NewEncoder(os.Stdout).Encode(done)
	if done.Retriable+done.Other > 0 || done.Cycles != *cycles {
		os.Exit(1)
	}
}

func run(bootstrap string, clients int, cycles int64) (result, error) {
	done := result{Clients: clients}
	var next atomic.Int64
	var workers sync.WaitGroup
	started := time.Now()
	for range clients {
		admin, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
		if err != nil {
			return done, err
		}
		user, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
		if err != nil {
			return done, err
		}
		workers.Go(func() {
			defer admin.Close()
			defer user.Close()
			for number := next.Add(1); number <= cycles; number = next.Add(1) {
				done.count(cycle(admin, user, fmt.Sprintf("churn-%d", number)))
			}
		})
	}
	workers.Wait()
	done.Seconds = time.Since(started).Seconds()
	return done, nil
}

func (done *result) count(err error) {
	switch {
	case err == nil:
		atomic.AddInt64(&done.Cycles, 1)
		return
	case kerr.IsRetriable(errors.Unwrap(err)):
		atomic.AddInt64(&done.Retriable, 1)
	default:
		atomic.AddInt64(&done.Other, 1)
	}
	if atomic.LoadInt64(&done.Retriable)+atomic.LoadInt64(&done.Other) <= shown {
		fmt.Fprintln(os.Stderr, "churn:", err)
	}
}

// What every step of one topic's life is answered, until one is refused.
func cycle(admin, user *kgo.Client, topic string) error {
	for _, step := range []struct {
		name string
		do   func(*kgo.Client, string) (int16, error)
		by   *kgo.Client
	}{
		{"create", create, admin}, {"metadata", metadata, user}, {"produce", produce, user}, {"end offset", endOffset, user},
		{"fetch", fetch, user}, {"delete", remove, admin}, {"metadata when gone", gone, user},
	} {
		code, err := step.do(step.by, topic)
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", step.name, topic, err)
		}
	}
	return nil
}

// Asked once, without trying again.
func ask[R kmsg.Response](client *kgo.Client, request kmsg.Request) (R, error) {
	var none R
	answer, err := client.SeedBrokers()[0].Request(context.Background(), request)
	if err != nil {
		return none, err
	}
	return answer.(R), nil
}

func create(client *kgo.Client, topic string) (int16, error) {
	request := kmsg.NewCreateTopicsRequest()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, partitions, 1
	request.Topics, request.TimeoutMillis = append(request.Topics, wanted), answerMs
	answer, err := ask[*kmsg.CreateTopicsResponse](client, &request)
	if err != nil {
		return 0, err
	}
	return answer.Topics[0].ErrorCode, nil
}

func askMetadata(client *kgo.Client, topic string) (*kmsg.MetadataResponseTopic, error) {
	request := kmsg.NewMetadataRequest()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic, request.AllowAutoTopicCreation = kmsg.StringPtr(topic), false
	request.Topics = append(request.Topics, wanted)
	answer, err := ask[*kmsg.MetadataResponse](client, &request)
	if err != nil {
		return nil, err
	}
	return &answer.Topics[0], nil
}

func metadata(client *kgo.Client, topic string) (int16, error) {
	answer, err := askMetadata(client, topic)
	if err != nil {
		return 0, err
	}
	for _, partition := range answer.Partitions {
		if partition.ErrorCode != 0 {
			return partition.ErrorCode, nil
		}
	}
	if answer.ErrorCode == 0 && len(answer.Partitions) != partitions {
		return 0, fmt.Errorf("%d partitions", len(answer.Partitions))
	}
	return answer.ErrorCode, nil
}

// After the deletion the topic must be unknown at once.
func gone(client *kgo.Client, topic string) (int16, error) {
	answer, err := askMetadata(client, topic)
	if err == nil && answer.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		err = fmt.Errorf("still there, error code %d", answer.ErrorCode)
	}
	return 0, err
}

func produce(client *kgo.Client, topic string) (int16, error) {
	request := kmsg.NewProduceRequest()
	request.Version, request.Acks, request.TimeoutMillis = 9, -1, answerMs
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = used, batch()
	whole := kmsg.NewProduceRequestTopic()
	whole.Topic, whole.Partitions = topic, append(whole.Partitions, part)
	request.Topics = append(request.Topics, whole)
	answer, err := ask[*kmsg.ProduceResponse](client, &pinned{&request, 9})
	if err != nil {
		return 0, err
	}
	return answer.Topics[0].Partitions[0].ErrorCode, nil
}

func endOffset(client *kgo.Client, topic string) (int16, error) {
	request := kmsg.NewListOffsetsRequest()
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = used, -1
	whole := kmsg.NewListOffsetsRequestTopic()
	whole.Topic, whole.Partitions = topic, append(whole.Partitions, part)
	request.ReplicaID, request.Topics = -1, append(request.Topics, whole)
	answer, err := ask[*kmsg.ListOffsetsResponse](client, &request)
	if err != nil {
		return 0, err
	}
	found := answer.Topics[0].Partitions[0]
	if found.ErrorCode == 0 && found.Offset != 1 {
		return 0, fmt.Errorf("the end is at %d", found.Offset)
	}
	return found.ErrorCode, nil
}

func fetch(client *kgo.Client, topic string) (int16, error) {
	request := kmsg.NewFetchRequest()
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.PartitionMaxBytes = used, 1<<20
	whole := kmsg.NewFetchRequestTopic()
	whole.Topic, whole.Partitions = topic, append(whole.Partitions, part)
	request.ReplicaID, request.MinBytes, request.MaxBytes, request.SessionEpoch = -1, 1, 1<<20, -1
	request.Topics = append(request.Topics, whole)
	answer, err := ask[*kmsg.FetchResponse](client, &pinned{&request, 12})
	if err != nil {
		return 0, err
	}
	if answer.ErrorCode != 0 {
		return answer.ErrorCode, nil
	}
	found := answer.Topics[0].Partitions[0]
	if found.ErrorCode == 0 && len(found.RecordBatches) == 0 {
		return 0, errors.New("no record")
	}
	return found.ErrorCode, nil
}

func remove(client *kgo.Client, topic string) (int16, error) {
	request := kmsg.NewDeleteTopicsRequest()
	wanted := kmsg.NewDeleteTopicsRequestTopic()
	wanted.Topic = kmsg.StringPtr(topic)
	request.TopicNames, request.Topics, request.TimeoutMillis = []string{topic}, append(request.Topics, wanted), answerMs
	answer, err := ask[*kmsg.DeleteTopicsResponse](client, &request)
	if err != nil {
		return 0, err
	}
	return answer.Topics[0].ErrorCode, nil
}

// Newer versions name topics by id, which this program does not keep.
type pinned struct {
	kmsg.Request
	max int16
}

func (request *pinned) MaxVersion() int16 { return request.max }

// One batch with one record.
func batch() []byte {
	now := time.Now().UnixMilli()
	record := kmsg.NewRecord()
	record.Value = []byte("x")
	// Attributes, timestamp delta, offset delta, no key, the value, no headers: a byte each.
	record.Length = 7
	whole := kmsg.NewRecordBatch()
	whole.PartitionLeaderEpoch, whole.Magic, whole.NumRecords = -1, 2, 1
	whole.FirstTimestamp, whole.MaxTimestamp = now, now
	whole.ProducerID, whole.ProducerEpoch, whole.FirstSequence = -1, -1, -1
	whole.Records = record.AppendTo(nil)
	bytes := whole.AppendTo(nil)
	binary.BigEndian.PutUint32(bytes[8:], uint32(len(bytes)-12))
	binary.BigEndian.PutUint32(bytes[17:], crc32.Checksum(bytes[21:], crc32.MakeTable(crc32.Castagnoli)))
	return bytes
}
