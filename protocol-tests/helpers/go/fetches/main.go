// franz-go behind the contract of tests/test_fetch_sessions.py: it reads all partitions of a topic, lets its fetches come back empty for
// a while, reads what comes then, and says after each step what went over its connections for fetches. It judges nothing.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	fetch = 1
	poll  = 50 * time.Millisecond
)

var (
	bootstrap = flag.String("bootstrap", "", "HOST:PORT")
	topic     = flag.String("topic", "", "what to read")
	_         = flag.Int("partitions", 0, "how many it has; this client finds out itself")
	maxWaitMs = flag.Int("max-wait-ms", 0, "how long a fetch waits for records")
)

// counter counts what is written and read for fetches.
type counter struct{ requests, sent, answers, received atomic.Int64 }

func (c *counter) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, err error) {
	if key == fetch && err == nil {
		c.requests.Add(1)
		c.sent.Add(int64(bytes))
	}
}

func (c *counter) OnBrokerRead(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, err error) {
	if key == fetch && err == nil {
		c.answers.Add(1)
		c.received.Add(int64(bytes))
	}
}

type watcher struct {
	client  *kgo.Client
	counter *counter
	records int
	seen    map[int32]bool
}

func (w *watcher) poll() {
	ctx, cancel := context.WithTimeout(context.Background(), poll)
	defer cancel()
	fetches := w.client.PollFetches(ctx)
	for _, failed := range fetches.Errors() {
		var network net.Error
		if !errors.Is(failed.Err, context.DeadlineExceeded) && !errors.As(failed.Err, &network) {
			fmt.Fprintln(os.Stderr, failed.Topic, failed.Partition, failed.Err)
			os.Exit(1)
		}
	}
	fetches.EachRecord(func(r *kgo.Record) {
		w.records++
		w.seen[r.Partition] = true
	})
}

func (w *watcher) say(step string) {
	c := w.counter
	fmt.Printf(`{"step":"%s","records":%d,"partitions":%d,"fetches":%d,"requests":%d,"sent":%d,"received":%d}`+"\n",
		step, w.records, len(w.seen), c.answers.Load(), c.requests.Load(), c.sent.Load(), c.received.Load())
	clear(w.seen)
}

func main() {
	flag.Parse()
	c := &counter{}
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap), kgo.ConsumeTopics(*topic), kgo.WithHooks(c),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(time.Duration(*maxWaitMs)*time.Millisecond))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	w := &watcher{client: client, counter: c, seen: map[int32]bool{}}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var step string
		var count int
		if _, err := fmt.Sscanf(in.Text(), "%s %d", &step, &count); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if step == "read" {
			for w.records < count {
				w.poll()
			}
		} else {
			for end := c.answers.Load() + int64(count); c.answers.Load() < end; {
				w.poll()
			}
		}
		w.say(step)
	}
}
