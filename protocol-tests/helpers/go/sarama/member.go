package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"tifo/protocol-tests/helpers/contract"
)

// member is a consumer in a group; sarama calls it once for each generation and once for each of its partitions.
type member struct {
	sarama.ConsumerGroup
	topic   string
	records chan *sarama.ConsumerMessage
	lock    sync.Mutex
	session sarama.ConsumerGroupSession
}

// follow joins again after each rebalance: Consume returns when a generation ends, and the old sarama also when it finds the
// coordinator still loading.
func (m *member) follow(ctx context.Context) {
	for {
		err := m.Consume(ctx, []string{m.topic}, m)
		switch {
		case errors.Is(err, sarama.ErrClosedConsumerGroup):
			return
		case errors.Is(err, sarama.ErrOffsetsLoadInProgress):
			warn(err)
			time.Sleep(contract.Heartbeat)
		default:
			contract.Check(err)
		}
	}
}

func (m *member) report() {
	for err := range m.Errors() {
		warn(err)
	}
}

// Setup begins a generation.
func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	m.session = session
	m.lock.Unlock()
	partitions := append([]int32{}, session.Claims()[m.topic]...)
	slices.Sort(partitions)
	contract.Assigned(partitions)
	return nil
}

// Cleanup ends a generation.
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim delivers one partition until its generation ends.
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		select {
		case m.records <- message:
		case <-session.Context().Done():
			return nil
		}
	}
	return nil
}

func (m *member) Next(ctx context.Context) (contract.Record, error) {
	select {
	case message := <-m.records:
		return fromClient(message), nil
	case <-ctx.Done():
		return contract.Record{}, ctx.Err()
	}
}

func (m *member) Commit(_ context.Context, position map[int32]int64) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	for p, next := range position {
		m.session.MarkOffset(m.topic, p, next, "")
	}
	m.session.Commit()
	return nil
}
