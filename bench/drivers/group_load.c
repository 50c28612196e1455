/*
 * group_load: what groups and transactions cost, by librdkafka.
 *
 *   commits       clients that each commit an offset of a group of their own, and wait for the answer
 *   transactions  clients that each write some records in a transaction, commit it, and begin the next
 *   stream        one producer as fast as it can: plain, idempotent, or transactional (a commit ten times a second)
 *   rebalance     members of one group: how long until all have their share, after the first joins, one more join and one leave
 *
 * Prints one JSON line. Place: bench/run, part `groups`. A mode with a duration warms up first (timed.h).
 */
#include "timed.h"

enum { ANSWER_MS = 30000, SETTLED_S = 120, COMMITS_A_SECOND = 10 };

static struct options {
        const char *brokers, *topic, *id, *kind;
        int partitions, size, clients, records, seconds;
        int64_t bytes;
        pid_t server;
} opt = {.partitions = 1, .size = 100, .clients = 1, .records = 1, .seconds = 5, .id = "bench", .kind = "plain", .bytes = 50000000};

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
        char error[512];
        set(conf, "bootstrap.servers", opt.brokers);
        set(conf, "broker.address.family", "v4");
        rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);
        if (!rk) die("client", error);
        return rk;
}

static void check(rd_kafka_error_t *error, const char *what) {
        if (error) die(what, rd_kafka_error_string(error));
}

static char *payload_of(int size) {
        char *payload = malloc(size);
        for (int i = 0; i < size; i++) payload[i] = (char)(rand() >> 7);
        return payload;
}

/* ---------------------------------------------------------------- commits */
static void *commit_offsets(void *number) {
        const int one = (int)(intptr_t)number;
        char group[128];
        snprintf(group, sizeof group, "%s-%d", opt.id, one);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "group.id", group);
        set(conf, "enable.auto.commit", "false");
        rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf);
        rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(offsets, opt.topic, one % opt.partitions);
        for (int64_t i = 1; monotonic_seconds() < counted_to; i++) {
                offsets->elems[0].offset = i;
                double from = monotonic_seconds();
                rd_kafka_resp_err_t error = rd_kafka_commit(rk, offsets, 0);
                if (error) die("commit", rd_kafka_err2str(error));
                keep(from, monotonic_seconds());
        }
        return NULL;
}

/* ---------------------------------------------------------------- transactions */
static rd_kafka_t *transactional(int one, const char *linger_ms) {
        char id[128];
        snprintf(id, sizeof id, "%s-%d", opt.id, one);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "transactional.id", id);
        set(conf, "linger.ms", linger_ms);
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
        check(rd_kafka_init_transactions(rk, ANSWER_MS), "init_transactions");
        return rk;
}

static void *commit_transactions(void *number) {
        const int one = (int)(intptr_t)number;
        rd_kafka_t *rk = transactional(one, "0");
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char *payload = payload_of(opt.size);
        while (monotonic_seconds() < counted_to) {
                check(rd_kafka_begin_transaction(rk), "begin_transaction");
                for (int i = 0; i < opt.records; i++)
                        if (rd_kafka_produce(topic, (one + i) % opt.partitions, RD_KAFKA_MSG_F_COPY, payload, opt.size, NULL, 0, NULL))
                                die("produce", rd_kafka_err2str(rd_kafka_last_error()));
                double from = monotonic_seconds();
                check(rd_kafka_commit_transaction(rk, ANSWER_MS), "commit_transaction");
                keep(from, monotonic_seconds());
        }
        return NULL;
}

/* ---------------------------------------------------------------- stream */
static int64_t delivered;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        if (message->err) die("delivery", rd_kafka_err2str(message->err));
        delivered++;
}

static rd_kafka_t *streaming(int in_transactions) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "acks", "all");
        set(conf, "queue.buffering.max.messages", "500000");
        set(conf, "enable.idempotence", strcmp(opt.kind, "plain") ? "true" : "false");
        if (in_transactions) set(conf, "transactional.id", opt.id);
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
        if (in_transactions) check(rd_kafka_init_transactions(rk, ANSWER_MS), "init_transactions");
        return rk;
}

static void stream(void) {
        const int in_transactions = !strcmp(opt.kind, "transactional");
        const int64_t count = opt.bytes / opt.size;
        rd_kafka_t *rk = streaming(in_transactions);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char *payload = payload_of(opt.size);
        double began = monotonic_seconds(), cpu = cpu_seconds_of(opt.server), due = began + 1.0 / COMMITS_A_SECOND;
        int commits = 0;
        if (in_transactions) check(rd_kafka_begin_transaction(rk), "begin_transaction");
        for (int64_t i = 0; i < count; i++) {
                while (rd_kafka_produce(topic, (int)(i % opt.partitions), RD_KAFKA_MSG_F_COPY, payload, opt.size, NULL, 0, NULL)) {
                        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
                        rd_kafka_poll(rk, 10);
                }
                if (i % 1000 == 0) rd_kafka_poll(rk, 0);
                if (!in_transactions || i % 100 || monotonic_seconds() < due) continue;
                check(rd_kafka_commit_transaction(rk, ANSWER_MS), "commit_transaction");
                check(rd_kafka_begin_transaction(rk), "begin_transaction");
                due = monotonic_seconds() + 1.0 / COMMITS_A_SECOND;
                commits++;
        }
        if (in_transactions) check(rd_kafka_commit_transaction(rk, ANSWER_MS), "commit_transaction");
        rd_kafka_flush(rk, ANSWER_MS);
        double seconds = monotonic_seconds() - began;
        cpu = cpu_seconds_of(opt.server) - cpu;
        if (delivered != count) die("stream", "not everything was delivered");
        printf("{\"records\":%lld,\"commits\":%d,\"seconds\":%.4f,\"cpu_seconds\":%.4f}\n", (long long)count, commits, seconds, cpu);
}

/* ---------------------------------------------------------------- rebalance */
static rd_kafka_t *members[MAX_CLIENTS];
static int shares[MAX_CLIENTS];

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
        int *share = opaque;
        const int is_assigned = error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        rd_kafka_assign(rk, is_assigned ? partitions : NULL);
        *share = is_assigned ? partitions->cnt : 0;
}

static void join(int one) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "group.id", opt.id);
        set(conf, "enable.auto.commit", "false");
        set(conf, "session.timeout.ms", "10000");
        set(conf, "heartbeat.interval.ms", "100");
        rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
        rd_kafka_conf_set_opaque(conf, &shares[one]);
        members[one] = client(RD_KAFKA_CONSUMER, conf);
        rd_kafka_poll_set_consumer(members[one]);
        rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(topics, opt.topic, RD_KAFKA_PARTITION_UA);
        if (rd_kafka_subscribe(members[one], topics)) die("subscribe", opt.topic);
        rd_kafka_topic_partition_list_destroy(topics);
}

/* Polls all members until each of the first `count` has a share and nobody has what another has. Milliseconds. */
static double settle(int count, double began) {
        for (;;) {
                int total = 0, without = 0;
                for (int i = 0; i < count; i++) {
                        rd_kafka_message_t *message = rd_kafka_consumer_poll(members[i], 0);
                        if (message) rd_kafka_message_destroy(message);
                        total += shares[i];
                        without += !shares[i];
                }
                if (total == opt.partitions && !without) return (monotonic_seconds() - began) * 1e3;
                if (monotonic_seconds() - began > SETTLED_S) die("rebalance", "the group does not settle");
                usleep(1000);
        }
}

static void rebalance(void) {
        if (opt.partitions < opt.clients + 1) die("rebalance", "more partitions than members are needed");
        double began = monotonic_seconds(), cpu = cpu_seconds_of(opt.server);
        for (int i = 0; i < opt.clients; i++) join(i);
        double first = settle(opt.clients, began);
        began = monotonic_seconds();
        join(opt.clients);
        double joined = settle(opt.clients + 1, began);
        began = monotonic_seconds();
        rd_kafka_consumer_close(members[opt.clients]);
        double left = settle(opt.clients, began);
        cpu = cpu_seconds_of(opt.server) - cpu;
        printf("{\"first_ms\":%.1f,\"join_ms\":%.1f,\"leave_ms\":%.1f,\"cpu_seconds\":%.4f}\n", first, joined, left, cpu);
}

int main(int argc, char **argv) {
        const char *mode = argc > 1 ? argv[1] : "";
        optind = 2;
        for (int c; (c = getopt(argc, argv, "b:t:p:s:c:n:d:i:k:B:P:")) != -1;) switch (c) {
                case 'b': opt.brokers = optarg; break;
                case 't': opt.topic = optarg; break;
                case 'p': opt.partitions = atoi(optarg); break;
                case 's': opt.size = atoi(optarg); break;
                case 'c': opt.clients = atoi(optarg); break;
                case 'n': opt.records = atoi(optarg); break;
                case 'd': opt.seconds = atoi(optarg); break;
                case 'i': opt.id = optarg; break;
                case 'k': opt.kind = optarg; break;
                case 'B': opt.bytes = atoll(optarg); break;
                case 'P': opt.server = atoi(optarg); break;
                default: return 2;
        }
        if (!opt.brokers || !opt.topic || opt.clients < 1 || opt.clients >= MAX_CLIENTS) {
                fprintf(stderr, "usage: group_load commits|transactions|stream|rebalance -b HOST:PORT -t TOPIC [-p PARTITIONS] [-s RECORD_BYTES] [-c CLIENTS]\n"
                                "       [-n RECORDS_A_TRANSACTION] [-d SECONDS] [-i ID] [-k plain|idempotent|transactional] [-B BYTES] [-P SERVER_PID]\n");
                return 2;
        }
        if (!strcmp(mode, "commits")) run_timed(commit_offsets, opt.clients, opt.seconds, opt.server);
        else if (!strcmp(mode, "transactions")) run_timed(commit_transactions, opt.clients, opt.seconds, opt.server);
        else if (!strcmp(mode, "stream")) stream();
        else if (!strcmp(mode, "rebalance")) rebalance();
        else die("no such mode", mode);
        fflush(stdout);
        _exit(0); /* librdkafka's orderly end takes seconds, and nobody waits for it */
}
