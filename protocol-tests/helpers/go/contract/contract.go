// Package contract is the helper contract for clients written in Go; see ../../../README.md.
// It judges nothing: the suite compares.
package contract

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	Heartbeat = 200 * time.Millisecond
	Session   = 10 * time.Second
	// MaxWait bounds a member's fetch, so that a stop is quick.
	MaxWait = 100 * time.Millisecond
	// maxLine is far above one record of the suite.
	maxLine = 1 << 20
)

// Record is a record as it goes in and comes out; the order of headers counts.
type Record struct {
	Partition int32       `json:"p"`
	Offset    int64       `json:"o"`
	Timestamp int64       `json:"t"`
	Key       string      `json:"k"`
	Value     string      `json:"v"`
	Headers   [][2]string `json:"h"`
}

// Args are the command line.
type Args struct {
	Verb, Bootstrap, Topic, Codec, Group, Protocol, Via string
	Partitions, Count                                   int
	Idempotent                                          bool
	Timestamps                                          []int64
}

// Found is the answer to one look-up by time; Offset is -1 where no record is that late.
type Found struct {
	Timestamp int64   `json:"timestamp"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Read      *Record `json:"read"`
}

// Member is one consumer in a group.
type Member interface {
	// Next waits for one record; it is not called again after the last one that is wanted.
	Next(context.Context) (Record, error)
	Commit(context.Context, map[int32]int64) error
	Close() error
}

// Client is one stock client.
type Client interface {
	Create(context.Context, Args) error
	Produce(context.Context, Args, []Record) (int, error)
	Join(context.Context, Args) (Member, error)
	Times(context.Context, Args, int64) ([]Found, error)
}

var out = struct {
	sync.Mutex
	*bufio.Writer
}{Writer: bufio.NewWriter(os.Stdout)}

// Say prints one event.
func Say(event any) {
	line, err := json.Marshal(event)
	Check(err)
	out.Lock()
	defer out.Unlock()
	_, _ = out.Write(append(line, '\n'))
}

func flush() {
	out.Lock()
	defer out.Unlock()
	_ = out.Flush()
}

// Assigned tells the suite what this member owns now.
func Assigned(partitions []int32) {
	Say(map[string]any{"assigned": partitions})
	flush()
}

// Check ends the helper with a worded error.
func Check(err error) {
	if err != nil {
		flush()
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func arguments() Args {
	var a Args
	var timestamps string
	flags := flag.NewFlagSet("helper", flag.ExitOnError)
	flags.StringVar(&a.Bootstrap, "bootstrap", "", "HOST:PORT")
	flags.StringVar(&a.Topic, "topic", "", "")
	flags.StringVar(&a.Codec, "codec", "none", "")
	flags.StringVar(&a.Group, "group", "", "")
	flags.StringVar(&a.Protocol, "protocol", "classic", "of the group: classic, or consumer (KIP-848)")
	flags.StringVar(&a.Via, "via", "", "dial this address instead of the broker's")
	flags.IntVar(&a.Partitions, "partitions", 1, "")
	flags.IntVar(&a.Count, "count", 0, "")
	flags.BoolVar(&a.Idempotent, "idempotent", false, "")
	flags.StringVar(&timestamps, "timestamps", "", "")
	a.Verb = os.Args[1]
	Check(flags.Parse(os.Args[2:]))
	for _, t := range strings.FieldsFunc(timestamps, func(r rune) bool { return r == ',' }) {
		ms, err := strconv.ParseInt(t, 10, 64)
		Check(err)
		a.Timestamps = append(a.Timestamps, ms)
	}
	return a
}

func readRecords() []Record {
	var records []Record
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var r Record
		Check(json.Unmarshal(lines.Bytes(), &r))
		records = append(records, r)
	}
	Check(lines.Err())
	return records
}

// member delivers at most count records, then only keeps its membership, until told to stop.
func member(ctx context.Context, m Member, count int) {
	reading, stopReading := context.WithCancel(ctx)
	var lock sync.Mutex
	position, delivered := map[int32]int64{}, 0
	go func() {
		for i := 0; i < count; i++ {
			r, err := m.Next(reading)
			if reading.Err() != nil {
				return
			}
			Check(err)
			lock.Lock()
			Say(map[string]any{"record": r})
			position[r.Partition] = r.Offset + 1
			delivered++
			lock.Unlock()
		}
		Say(map[string]any{"reached": count})
		flush()
	}()
	go func() {
		for range time.Tick(MaxWait / 2) {
			flush()
		}
	}()
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() && commands.Text() != "stop" {
		lock.Lock()
		Check(m.Commit(ctx, position))
		Say(map[string]any{"committed": position})
		lock.Unlock()
		flush()
	}
	// A member that was still reading does not take its own end for a failure.
	stopReading()
	Check(m.Close())
	Say(map[string]any{"stopped": delivered})
	flush()
	os.Exit(0)
}

// ModuleVersion is the version of the client as it was built into this program, without the `v`.
func ModuleVersion(path string) string {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path != path {
			continue
		}
		if module.Replace != nil {
			module = module.Replace
		}
		return strings.TrimPrefix(module.Version, "v")
	}
	panic(path + " is not in this program")
}

// Run is a helper's main function.
func Run(c Client, version string) {
	ctx, a := context.Background(), arguments()
	switch a.Verb {
	case "version":
		Say(map[string]any{"version": version})
	case "create":
		Check(c.Create(ctx, a))
		Say(map[string]any{"created": a.Topic})
	case "produce":
		n, err := c.Produce(ctx, a, readRecords())
		Check(err)
		Say(map[string]any{"produced": n})
	case "member":
		m, err := c.Join(ctx, a)
		Check(err)
		member(ctx, m, a.Count)
	case "times":
		for _, t := range a.Timestamps {
			found, err := c.Times(ctx, a, t)
			Check(err)
			for _, f := range found {
				Say(f)
			}
		}
	default:
		Check(fmt.Errorf("no such verb: %s", a.Verb))
	}
	flush()
}
