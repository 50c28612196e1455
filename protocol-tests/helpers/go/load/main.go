// franz-go behind the load contract (durability/README.md): several producers, one goroutine each. It judges nothing: it
// prints what its client acknowledged or gave up, and at the end how much it sent.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	tick      = 10 * time.Millisecond
	flushWait = 60 * time.Second
	keys      = 500
)

var (
	bootstrap = flag.String("bootstrap", "", "HOST:PORT")
	targets   = flag.String("targets", "", "TOPIC:PARTITIONS,…")
	modes     = flag.String("modes", "", "NAME:ACKS:IDEMPOTENT:CODEC,…")
	rate      = flag.Float64("rate", 1000, "records a second of each mode")

	filler  = strings.Repeat("goal! cheer wave clap ", 40)
	codecs  = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	outLock sync.Mutex
	out     = bufio.NewWriterSize(os.Stdout, 1<<16)
)

type target struct {
	topic     string
	partition int32
	next      int
}

func say(format string, values ...any) {
	outLock.Lock()
	defer outLock.Unlock()
	_, _ = fmt.Fprintf(out, format+"\n", values...)
}

func flush() {
	outLock.Lock()
	defer outLock.Unlock()
	_ = out.Flush()
}

func check(err error) {
	if err != nil {
		flush()
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func connect(acks, idempotent, codec string) *kgo.Client {
	options := []kgo.Opt{
		kgo.SeedBrokers(*bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.ProducerLinger(5 * time.Millisecond),
		// After a lost connection it asks for metadata again before it retries, by default not before 5 s.
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
	if acks == "1" {
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if idempotent != "true" {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	client, err := kgo.NewClient(options...)
	check(err)
	return client
}

func parseTargets() (all []*target) {
	for _, word := range strings.Split(*targets, ",") {
		topic, count, _ := strings.Cut(word, ":")
		partitions, err := strconv.Atoi(count)
		check(err)
		for p := range partitions {
			all = append(all, &target{topic: topic, partition: int32(p)})
		}
	}
	return all
}

func send(client *kgo.Client, name string, t *target) {
	number := t.next
	t.next++
	stamp := fmt.Sprintf("%s %s %d %d", name, t.topic, t.partition, number)
	tail := filler[:number*7919%700]
	value := fmt.Sprintf("%s %08x %s", stamp, crc32.ChecksumIEEE([]byte(stamp+" "+tail)), tail)
	record := &kgo.Record{Topic: t.topic, Partition: t.partition, Key: fmt.Appendf(nil, "%s-%d", name, number%keys), Value: []byte(value)}
	client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
		if err != nil {
			say("gave-up %s %v", stamp, err)
		} else {
			say("ack %s %d", stamp, r.Offset)
		}
	})
}

// run loads one mode until it is told to stop, then waits until everything is answered.
func run(mode string, stop <-chan struct{}) {
	parts := strings.Split(mode, ":")
	client, all := connect(parts[1], parts[2], parts[3]), parseTargets()
	began, sent := time.Now(), 0
	for running := true; running; {
		for due := time.Since(began).Seconds() * *rate; float64(sent) < due; sent++ {
			send(client, parts[0], all[sent%len(all)])
		}
		flush()
		select {
		case <-stop:
			running = false
		case <-time.After(tick):
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWait)
	defer cancel()
	check(client.Flush(ctx))
	for _, t := range all {
		say("sent %s %s %d %d", parts[0], t.topic, t.partition, t.next)
	}
}

func main() {
	flag.Parse()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, mode := range strings.Split(*modes, ",") {
		running.Go(func() { run(mode, stop) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	running.Wait()
	flush()
}
