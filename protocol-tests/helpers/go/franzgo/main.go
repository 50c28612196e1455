// franz-go behind the helper contract.
package main

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tifo/protocol-tests/helpers/contract"
)

type client struct{}

func main() { contract.Run(client{}, contract.ModuleVersion("github.com/twmb/franz-go")) }

func connect(a contract.Args, options ...kgo.Opt) (*kgo.Client, error) {
	// After a lost connection it asks for metadata again before it retries, by default not before 5 s.
	options = append(options, kgo.SeedBrokers(a.Bootstrap), kgo.FetchMaxWait(contract.MaxWait),
		kgo.MetadataMinAge(contract.MaxWait))
	if a.Via != "" {
		options = append(options, kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, a.Via)
		}))
	}
	return kgo.NewClient(options...)
}

func (client) Create(ctx context.Context, a contract.Args) error {
	c, err := connect(a)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = kadm.NewClient(c).CreateTopic(ctx, int32(a.Partitions), 1, nil, a.Topic)
	return err
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (client) Produce(ctx context.Context, a contract.Args, records []contract.Record) (int, error) {
	options := []kgo.Opt{kgo.DefaultProduceTopic(a.Topic), kgo.ProducerBatchCompression(codecs[a.Codec])}
	if !a.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	c, err := connect(a, options...)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	batch := make([]*kgo.Record, 0, len(records))
	for _, r := range records {
		batch = append(batch, toClient(r))
	}
	results := c.ProduceSync(ctx, batch...)
	return len(results), results.FirstErr()
}

func (client) Join(_ context.Context, a contract.Args) (contract.Member, error) {
	m := &member{topic: a.Topic, owned: map[int32]bool{}}
	protocol := []kgo.Opt{}
	if a.Protocol == "consumer" {
		protocol = append(protocol, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	c, err := connect(a, append(protocol, kgo.ConsumeTopics(a.Topic), kgo.ConsumerGroup(a.Group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(contract.Heartbeat),
		kgo.SessionTimeout(contract.Session),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.change(p, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.change(p, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.change(p, false) }))...)
	m.Client = c
	return m, err
}

type member struct {
	*kgo.Client
	topic   string
	pending []*kgo.Record
	lock    sync.Mutex
	owned   map[int32]bool
}

// change keeps the whole assignment: this client reports only what was added or taken.
func (m *member) change(partitions map[string][]int32, mine bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, p := range partitions[m.topic] {
		m.owned[p] = mine
	}
	all := []int32{}
	for p, owned := range m.owned {
		if owned {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	contract.Assigned(all)
}

func (m *member) Next(ctx context.Context) (contract.Record, error) {
	for len(m.pending) == 0 {
		fetches := m.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return contract.Record{}, err
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return contract.Record{}, errs[0].Err
		}
		m.pending = fetches.Records()
	}
	r := m.pending[0]
	m.pending = m.pending[1:]
	return fromClient(r), nil
}

func (m *member) Commit(ctx context.Context, position map[int32]int64) error {
	offsets := map[int32]kgo.EpochOffset{}
	for p, o := range position {
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: o}
	}
	var failed error
	m.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: offsets}, onCommit(&failed))
	return failed
}

func (m *member) Close() error {
	err := m.LeaveGroupContext(context.Background())
	m.Client.Close()
	return err
}

func (client) Times(ctx context.Context, a contract.Args, timestamp int64) ([]contract.Found, error) {
	c, err := connect(a)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	listed, err := kadm.NewClient(c).ListOffsetsAfterMilli(ctx, timestamp, a.Topic)
	if err != nil {
		return nil, err
	}
	var found []contract.Found
	for p, at := range listed[a.Topic] {
		if at.Err != nil {
			return nil, at.Err
		}
		f := contract.Found{Timestamp: timestamp, Partition: p, Offset: -1}
		if at.Timestamp >= 0 { // -1: past the last record, where this client answers with the end
			f.Offset = at.Offset
			if f.Read, err = readAt(ctx, a, p, at.Offset); err != nil {
				return nil, err
			}
		}
		found = append(found, f)
	}
	return found, nil
}

func readAt(ctx context.Context, a contract.Args, partition int32, offset int64) (*contract.Record, error) {
	c, err := connect(a, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		a.Topic: {partition: kgo.NewOffset().At(offset)}}))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	fetches := c.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		return nil, err
	}
	r := fromClient(fetches.Records()[0])
	return &r, nil
}
