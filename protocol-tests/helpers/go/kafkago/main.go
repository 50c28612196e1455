// segmentio/kafka-go behind the helper contract. This client has no idempotent producer.
package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"tifo/protocol-tests/helpers/contract"
)

const (
	batchTimeout = 5 * time.Millisecond
	batchRecords = 500
)

type client struct{}

func main() { contract.Run(client{}, contract.ModuleVersion("github.com/segmentio/kafka-go")) }

func api(a contract.Args) *kafka.Client { return &kafka.Client{Addr: kafka.TCP(a.Bootstrap)} }

func (client) Create(ctx context.Context, a contract.Args) error {
	reply, err := api(a).CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: a.Topic, NumPartitions: a.Partitions, ReplicationFactor: 1}}})
	if err != nil {
		return err
	}
	return reply.Errors[a.Topic]
}

var codecs = map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy,
	"lz4": kafka.Lz4, "zstd": kafka.Zstd}

func (client) Produce(ctx context.Context, a contract.Args, records []contract.Record) (int, error) {
	if a.Idempotent {
		return 0, errors.New("segmentio/kafka-go has no idempotent producer")
	}
	w := &kafka.Writer{Addr: kafka.TCP(a.Bootstrap), Topic: a.Topic, Balancer: &kafka.Hash{},
		RequiredAcks: kafka.RequireAll, Compression: codecs[a.Codec], BatchTimeout: batchTimeout, BatchSize: batchRecords}
	messages := make([]kafka.Message, 0, len(records))
	for _, r := range records {
		m := kafka.Message{Key: []byte(r.Key), Value: []byte(r.Value), Time: time.UnixMilli(r.Timestamp)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
		}
		messages = append(messages, m)
	}
	if err := w.WriteMessages(ctx, messages...); err != nil {
		return 0, err
	}
	return len(messages), w.Close()
}

func fromClient(m kafka.Message) contract.Record {
	record := contract.Record{Partition: int32(m.Partition), Offset: m.Offset, Timestamp: m.Time.UnixMilli(),
		Key: string(m.Key), Value: string(m.Value), Headers: [][2]string{}}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, [2]string{h.Key, string(h.Value)})
	}
	return record
}

func (client) Join(_ context.Context, a contract.Args) (contract.Member, error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{a.Bootstrap}, GroupID: a.Group, Topic: a.Topic,
		StartOffset: kafka.FirstOffset, HeartbeatInterval: contract.Heartbeat, SessionTimeout: contract.Session,
		MaxWait: contract.MaxWait, ReadBackoffMin: time.Millisecond, ReadBackoffMax: contract.MaxWait,
		Logger: kafka.LoggerFunc(assignment), JoinGroupBackoff: contract.Heartbeat})
	return &member{r, a.Topic}, nil
}

var topicPartition = regexp.MustCompile(`\{\S+ (\d+)\}|partition:(\d+)`)

// assignment reads what the Reader owns from its log: the Reader has no other way to tell.
func assignment(format string, args ...any) {
	if !strings.HasPrefix(format, "subscribed to topics and partitions") {
		return
	}
	partitions := []int32{}
	for _, found := range topicPartition.FindAllStringSubmatch(fmt.Sprintf(format, args...), -1) {
		p, err := strconv.ParseInt(found[1]+found[2], 10, 32)
		contract.Check(err)
		partitions = append(partitions, int32(p))
	}
	slices.Sort(partitions)
	contract.Assigned(partitions)
}

type member struct {
	*kafka.Reader
	topic string
}

func (m *member) Next(ctx context.Context) (contract.Record, error) {
	message, err := m.FetchMessage(ctx)
	return fromClient(message), err
}

// Commit names the last message of each partition; the Reader adds one.
func (m *member) Commit(ctx context.Context, position map[int32]int64) error {
	var last []kafka.Message
	for p, next := range position {
		last = append(last, kafka.Message{Topic: m.topic, Partition: int(p), Offset: next - 1})
	}
	return m.CommitMessages(ctx, last...)
}

func (client) Times(ctx context.Context, a contract.Args, timestamp int64) ([]contract.Found, error) {
	meta, err := api(a).Metadata(ctx, &kafka.MetadataRequest{Topics: []string{a.Topic}})
	if err != nil {
		return nil, err
	}
	var asked []kafka.OffsetRequest
	for _, p := range meta.Topics[0].Partitions {
		asked = append(asked, kafka.TimeOffsetOf(p.ID, time.UnixMilli(timestamp)))
	}
	reply, err := api(a).ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{a.Topic: asked}})
	if err != nil {
		return nil, err
	}
	var found []contract.Found
	for _, p := range reply.Topics[a.Topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		f := contract.Found{Timestamp: timestamp, Partition: int32(p.Partition), Offset: -1}
		for offset := range p.Offsets {
			f.Offset = offset
		}
		if f.Offset >= 0 {
			if f.Read, err = readAt(ctx, a, p.Partition, f.Offset); err != nil {
				return nil, err
			}
		}
		found = append(found, f)
	}
	return found, nil
}

func readAt(ctx context.Context, a contract.Args, partition int, offset int64) (*contract.Record, error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{a.Bootstrap}, Topic: a.Topic, Partition: partition,
		MaxWait: contract.MaxWait})
	defer r.Close()
	if err := r.SetOffset(offset); err != nil {
		return nil, err
	}
	message, err := r.ReadMessage(ctx)
	record := fromClient(message)
	return &record, err
}
