// librdkafka, built into confluent-kafka-go, behind the helper contract: the module brings the library of its own version,
// so an old librdkafka needs no package of the machine (go.mod: 1.9.2, the newest that is old).
package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/kafka"

	"tifo/protocol-tests/helpers/contract"
)

const (
	askMs   = 10_000
	flushMs = 60_000
	// fetchWaitMs: a new assignment waits for the fetch that is under way.
	fetchWaitMs = 20
)

type client struct{}

func main() {
	_, library := kafka.LibraryVersion()
	module := contract.ModuleVersion("github.com/confluentinc/confluent-kafka-go")
	contract.Run(client{}, library+" (confluent-kafka-go "+module+")")
}

func (client) Create(ctx context.Context, a contract.Args) error {
	admin, err := kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": a.Bootstrap})
	if err != nil {
		return err
	}
	defer admin.Close()
	made, err := admin.CreateTopics(ctx, []kafka.TopicSpecification{
		{Topic: a.Topic, NumPartitions: a.Partitions, ReplicationFactor: 1}})
	if err != nil {
		return err
	}
	if made[0].Error.Code() != kafka.ErrNoError {
		return made[0].Error
	}
	return nil
}

func (client) Produce(_ context.Context, a contract.Args, records []contract.Record) (int, error) {
	inFlight := 1
	if a.Idempotent {
		inFlight = 5
	}
	producer, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": a.Bootstrap, "acks": "all",
		"compression.type": a.Codec, "enable.idempotence": a.Idempotent, "linger.ms": 5,
		"max.in.flight.requests.per.connection": inFlight})
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	stored := make(chan int)
	go func() { stored <- countStored(producer.Events(), len(records)) }()
	for _, r := range records {
		producer.ProduceChannel() <- toClient(a.Topic, r)
	}
	count := <-stored
	if left := producer.Flush(flushMs); left > 0 {
		return count, errors.New("records are left unsent")
	}
	return count, nil
}

func countStored(events chan kafka.Event, wanted int) int {
	count := 0
	for seen := 0; seen < wanted; {
		if message, ok := (<-events).(*kafka.Message); ok {
			seen++
			if message.TopicPartition.Error == nil && message.TopicPartition.Offset >= 0 {
				count++
			}
		}
	}
	return count
}

func toClient(topic string, r contract.Record) *kafka.Message {
	message := &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny},
		Key: []byte(r.Key), Value: []byte(r.Value), Timestamp: time.UnixMilli(r.Timestamp)}
	for _, h := range r.Headers {
		message.Headers = append(message.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
	}
	return message
}

func fromClient(m *kafka.Message) contract.Record {
	record := contract.Record{Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset),
		Timestamp: m.Timestamp.UnixMilli(), Key: string(m.Key), Value: string(m.Value), Headers: [][2]string{}}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, [2]string{h.Key, string(h.Value)})
	}
	return record
}

func consumer(a contract.Args, group string) (*kafka.Consumer, error) {
	return kafka.NewConsumer(&kafka.ConfigMap{"bootstrap.servers": a.Bootstrap, "group.id": group,
		"enable.auto.commit": false, "auto.offset.reset": "earliest", "fetch.wait.max.ms": fetchWaitMs,
		"heartbeat.interval.ms": int(contract.Heartbeat.Milliseconds()),
		"session.timeout.ms":    int(contract.Session.Milliseconds())})
}

type member struct {
	*kafka.Consumer
	topic string
}

func (client) Join(_ context.Context, a contract.Args) (contract.Member, error) {
	c, err := consumer(a, a.Group)
	if err != nil {
		return nil, err
	}
	return &member{c, a.Topic}, c.SubscribeTopics([]string{a.Topic}, rebalanced)
}

// rebalanced only tells: the client then assigns by itself.
func rebalanced(_ *kafka.Consumer, event kafka.Event) error {
	partitions := []int32{}
	if assigned, ok := event.(kafka.AssignedPartitions); ok {
		for _, tp := range assigned.Partitions {
			partitions = append(partitions, tp.Partition)
		}
	}
	slices.Sort(partitions)
	contract.Assigned(partitions)
	return nil
}

func (m *member) Next(ctx context.Context) (contract.Record, error) {
	for ctx.Err() == nil {
		switch event := m.Poll(int(contract.MaxWait.Milliseconds())).(type) {
		case *kafka.Message:
			return fromClient(event), event.TopicPartition.Error
		case kafka.Error:
			if event.IsFatal() {
				return contract.Record{}, event
			}
		}
	}
	return contract.Record{}, ctx.Err()
}

func (m *member) Commit(_ context.Context, position map[int32]int64) error {
	var offsets []kafka.TopicPartition
	for p, next := range position {
		offsets = append(offsets, kafka.TopicPartition{Topic: &m.topic, Partition: p, Offset: kafka.Offset(next)})
	}
	committed, err := m.CommitOffsets(offsets)
	for _, tp := range committed {
		err = errors.Join(err, tp.Error)
	}
	return err
}

func (client) Times(_ context.Context, a contract.Args, timestamp int64) ([]contract.Found, error) {
	c, err := consumer(a, "reader")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	meta, err := c.GetMetadata(&a.Topic, false, askMs)
	if err != nil {
		return nil, err
	}
	var asked []kafka.TopicPartition
	for _, p := range meta.Topics[a.Topic].Partitions {
		asked = append(asked, kafka.TopicPartition{Topic: &a.Topic, Partition: p.ID, Offset: kafka.Offset(timestamp)})
	}
	answer, err := c.OffsetsForTimes(asked, askMs)
	if err != nil {
		return nil, err
	}
	var found []contract.Found
	for _, tp := range answer {
		f := contract.Found{Timestamp: timestamp, Partition: tp.Partition, Offset: max(int64(tp.Offset), -1)}
		if tp.Error != nil {
			return nil, tp.Error
		}
		if f.Offset >= 0 {
			if f.Read, err = readAt(c, tp); err != nil {
				return nil, err
			}
		}
		found = append(found, f)
	}
	return found, nil
}

func readAt(c *kafka.Consumer, tp kafka.TopicPartition) (*contract.Record, error) {
	if err := c.Assign([]kafka.TopicPartition{tp}); err != nil {
		return nil, err
	}
	message, err := c.ReadMessage(askMs * time.Millisecond)
	if err != nil {
		return nil, err
	}
	record := fromClient(message)
	return &record, nil
}
