// sarama behind the helper contract. One source for two versions: go.mod names the newest, v1.29.mod the old one.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"tifo/protocol-tests/helpers/contract"
)

const (
	linger    = 5 * time.Millisecond
	retention = 24 * time.Hour
)

type client struct{}

func main() { contract.Run(client{}, contract.ModuleVersion("github.com/IBM/sarama")) }

// settings speak the newest protocol that this sarama knows: by itself it stays at that of an old broker. The old sarama
// commits by version 1, which Apache Kafka 4 no longer has, unless it is told how long offsets are to be kept.
func settings() *sarama.Config {
	s := sarama.NewConfig()
	s.Version = sarama.MaxVersion
	s.Consumer.MaxWaitTime = contract.MaxWait
	if sarama.MaxVersion == sarama.V2_8_0_0 {
		s.Consumer.Offsets.Retention = retention
	}
	return s
}

func (client) Create(_ context.Context, a contract.Args) error {
	admin, err := sarama.NewClusterAdmin([]string{a.Bootstrap}, settings())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(a.Topic, &sarama.TopicDetail{NumPartitions: int32(a.Partitions), ReplicationFactor: 1}, false)
}

var codecs = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

func (client) Produce(_ context.Context, a contract.Args, records []contract.Record) (int, error) {
	s := settings()
	s.Producer.RequiredAcks = sarama.WaitForAll
	s.Producer.Return.Successes = true
	s.Producer.Compression = codecs[a.Codec]
	s.Producer.Idempotent = a.Idempotent
	s.Producer.Flush.Frequency = linger
	s.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer([]string{a.Bootstrap}, s)
	if err != nil {
		return 0, err
	}
	messages := make([]*sarama.ProducerMessage, 0, len(records))
	for _, r := range records {
		messages = append(messages, toClient(a.Topic, r))
	}
	if err := producer.SendMessages(messages); err != nil {
		return 0, err
	}
	return len(messages), producer.Close()
}

func toClient(topic string, r contract.Record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(r.Key), Value: sarama.StringEncoder(r.Value),
		Timestamp: time.UnixMilli(r.Timestamp)}
	for _, h := range r.Headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h[0]), Value: []byte(h[1])})
	}
	return message
}

func fromClient(m *sarama.ConsumerMessage) contract.Record {
	record := contract.Record{Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp.UnixMilli(),
		Key: string(m.Key), Value: string(m.Value), Headers: [][2]string{}}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, [2]string{string(h.Key), string(h.Value)})
	}
	return record
}

func (client) Join(ctx context.Context, a contract.Args) (contract.Member, error) {
	s := settings()
	s.Consumer.Offsets.Initial = sarama.OffsetOldest
	s.Consumer.Offsets.AutoCommit.Enable = false
	s.Consumer.Group.Heartbeat.Interval = contract.Heartbeat
	s.Consumer.Group.Session.Timeout = contract.Session
	s.Consumer.Return.Errors = true
	group, err := sarama.NewConsumerGroup([]string{a.Bootstrap}, a.Group, s)
	if err != nil {
		return nil, err
	}
	m := &member{ConsumerGroup: group, topic: a.Topic, records: make(chan *sarama.ConsumerMessage)}
	go m.follow(ctx)
	go m.report()
	return m, nil
}

func (client) Times(_ context.Context, a contract.Args, timestamp int64) ([]contract.Found, error) {
	c, err := sarama.NewClient([]string{a.Bootstrap}, settings())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	partitions, err := c.Partitions(a.Topic)
	if err != nil {
		return nil, err
	}
	var found []contract.Found
	for _, p := range partitions {
		f := contract.Found{Timestamp: timestamp, Partition: p}
		if f.Offset, err = c.GetOffset(a.Topic, p, timestamp); err != nil {
			return nil, err
		}
		if f.Offset >= 0 {
			if f.Read, err = readAt(c, a.Topic, p, f.Offset); err != nil {
				return nil, err
			}
		}
		found = append(found, f)
	}
	return found, nil
}

func readAt(c sarama.Client, topic string, partition int32, offset int64) (*contract.Record, error) {
	consumer, err := sarama.NewConsumerFromClient(c)
	if err != nil {
		return nil, err
	}
	reader, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	record := fromClient(<-reader.Messages())
	return &record, nil
}

func warn(err error) { fmt.Fprintln(os.Stderr, err) }
