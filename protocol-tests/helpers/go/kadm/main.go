// Admin calls through franz-go's kadm: `kadm --bootstrap B --topic T --group G` makes them one after the other and prints a JSON line
// for each, what it gave or the error. It judges nothing: the suite compares.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	timeout  = 30 * time.Second
	patience = 200
	pause    = 50 * time.Millisecond
)

// The number of brokers as a kind of resource.
const brokers = 4

type said struct {
	Call   string `json:"call"`
	Answer any    `json:"answer,omitempty"`
	Error  string `json:"error,omitempty"`
}

func tell(call string, answer any, err error) {
	line := said{Call: call, Answer: answer, Error: kind(err)}
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte(err.Error())
	}
	fmt.Println(string(text))
}

// The broker's error by its name: the words around it are the client's.
func kind(err error) string {
	var known *kerr.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &known):
		return known.Message
	default:
		return "another error"
	}
}

func main() {
	bootstrap, topic, group := flag.String("bootstrap", "", ""), flag.String("topic", "", ""), flag.String("group", "", "")
	flag.Parse()
	connection, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap))
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	calls(ctx, kadm.NewClient(connection), *topic, *group)
}

func calls(ctx context.Context, admin *kadm.Client, topic, group string) {
	topics(ctx, admin, topic)
	partitions(ctx, admin, topic)
	cluster(ctx, admin, topic)
	_, err := admin.DeleteGroup(ctx, group)
	tell("delete group", nil, err)
	_, err = admin.DeleteTopic(ctx, topic)
	tell("delete topic", nil, err)
}

func topics(ctx context.Context, admin *kadm.Client, topic string) {
	created, err := admin.CreateTopic(ctx, 2, 1, nil, topic)
	tell("create topic", []int32{created.NumPartitions, int32(created.ReplicationFactor)}, err)
	_, err = admin.CreateTopic(ctx, 2, 1, nil, topic)
	tell("create topic again", nil, err)
	grown, err := admin.UpdatePartitions(ctx, 3, topic)
	tell("update partitions", kind(grown[topic].Err), err)
	value := "60000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
	tell("alter topic configs", kind(altered[0].Err), err)
	retention, err := retentionOf(ctx, admin, topic)
	// Apache Kafka answers a change before it has taken effect.
	for i := 0; i < patience && err == nil && retention[0] != value; i++ {
		time.Sleep(pause)
		retention, err = retentionOf(ctx, admin, topic)
	}
	tell("describe topic configs", retention, err)
	ends, err := admin.ListEndOffsets(ctx, topic)
	tell("list end offsets", len(ends[topic]), err)
}

// Value and source.
func retentionOf(ctx context.Context, admin *kadm.Client, topic string) ([]string, error) {
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil || len(described) == 0 {
		return []string{""}, err
	}
	for _, config := range described[0].Configs {
		if config.Key == "retention.ms" {
			return []string{config.MaybeValue(), config.Source.String()}, err
		}
	}
	return []string{""}, described[0].Err
}

func partitions(ctx context.Context, admin *kadm.Client, topic string) {
	all := kadm.TopicsSet{}
	all.Add(topic, 0)
	elected, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, all)
	tell("elect leaders", kind(elected[topic][0].Err), err)
	var assignment kadm.AlterPartitionAssignmentsReq
	assignment.Assign(topic, 0, []int32{1})
	assignment.Assign(topic, 1, []int32{77})
	assigned, err := admin.AlterPartitionAssignments(ctx, assignment)
	tell("alter partition assignments", []string{kind(assigned[topic][0].Err), kind(assigned[topic][1].Err)}, err)
	moving, err := admin.ListPartitionReassignments(ctx, all)
	tell("list partition reassignments", len(moving), err)
	dirs, err := admin.DescribeAllLogDirs(ctx, all)
	sizes := []int64{}
	dirs.Each(func(dir kadm.DescribedLogDir) {
		for _, partition := range dir.Topics.Sorted() {
			sizes = append(sizes, partition.Size, partition.OffsetLag)
		}
	})
	tell("describe log dirs", sizes, err)
	var elsewhere kadm.AlterReplicaLogDirsReq
	elsewhere.Add("/no/such/directory", all)
	moved, err := admin.AlterAllReplicaLogDirs(ctx, elsewhere)
	errs := []string{}
	moved.Each(func(one kadm.AlterReplicaLogDirsResponse) { errs = append(errs, kind(one.Err)) })
	tell("alter replica log dirs", errs, err)
}

func cluster(ctx context.Context, admin *kadm.Client, topic string) {
	metadata, err := admin.Metadata(ctx, topic)
	tell("metadata", []any{metadata.Controller, len(metadata.Brokers), len(metadata.Topics[topic].Partitions)}, err)
	deleted, err := admin.DeleteRecords(ctx, kadm.Offsets{topic: {0: {Topic: topic, Partition: 0, At: 0}}})
	tell("delete records", deleted[topic][0].LowWatermark, err)
	listed, err := admin.ListConfigResources(ctx, kadm.ConfigResourceType(brokers))
	tell("list config resources", len(listed.Resources), err)
}
