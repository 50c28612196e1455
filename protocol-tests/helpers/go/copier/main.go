// One link of a chain (groups/README.md) by franz-go's GroupTransactSession: copies a topic into another, partition by partition,
// records and offsets in one transaction. One in ten transactions is aborted on purpose. Whatever goes wrong, it takes a new session and
// goes on from what is committed. It judges nothing; it prints how many records it has copied, and ends with its standard input.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	abortedOneIn = 10
	mostRecords  = 100
	endWait      = 15 * time.Second
)

var (
	bootstrap = flag.String("bootstrap", "", "HOST:PORT")
	input     = flag.String("input", "", "topic")
	output    = flag.String("output", "", "topic")
	group     = flag.String("group", "", "consumer group")
	id        = flag.String("id", "", "transactional id")
	_         = flag.String("protocol", "classic", "franz-go joins by the classic protocol")
	copied    = 0
)

func open() (*kgo.GroupTransactSession, error) {
	return kgo.NewGroupTransactSession(
		kgo.SeedBrokers(*bootstrap),
		kgo.TransactionalID(*id),
		kgo.TransactionTimeout(10*time.Second),
		kgo.ConsumerGroup(*group),
		kgo.ConsumeTopics(*input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequestTimeoutOverhead(5*time.Second),
		kgo.RetryTimeout(10*time.Second),
		kgo.RecordDeliveryTimeout(10*time.Second),
	)
}

// step is one transaction; an error means that the session is over.
func step(ctx context.Context, session *kgo.GroupTransactSession) error {
	fetches := session.PollRecords(ctx, mostRecords)
	if ctx.Err() != nil || fetches.Empty() {
		return nil
	}
	if err := session.Begin(); err != nil {
		return err
	}
	outcome := kgo.AbortingFirstErrPromise(session.Client())
	fetches.EachRecord(func(record *kgo.Record) {
		copy := &kgo.Record{Topic: *output, Partition: record.Partition, Key: record.Key, Value: record.Value}
		session.Produce(ctx, copy, outcome.Promise())
	})
	wanted := kgo.TransactionEndTry(outcome.Err() == nil && rand.Intn(abortedOneIn) > 0)
	ending, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	committed, err := session.End(ending, wanted)
	if err != nil {
		return err
	}
	if committed {
		copied += fetches.NumRecords()
		fmt.Printf("{\"copied\":%d}\n", copied)
	}
	return nil
}

// work goes on with one session until it is over.
func work(ctx context.Context) error {
	session, err := open()
	if err != nil {
		return err
	}
	defer session.Close()
	for ctx.Err() == nil {
		if err := step(ctx, session); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	flag.Parse()
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	for ctx.Err() == nil {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "starting over:", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}
