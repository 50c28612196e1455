/*
 * log_load: a load driver on librdkafka, in the manner of its rdkafka_performance (which Debian does not package).
 *
 * Job: produce, fetch, or time single records against one Kafka-compatible server, and print one JSON line.
 * Place: bench/run starts it once per cell. The CPU time of the server is read at the first and at the last
 * record, so neither the start of this program nor the set-up of the topic is charged to the server.
 * It must never: verify, retry or adapt in a way that differs from server to server.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

enum { POOL_BYTES = 1 << 20, MAX_OVERRIDES = 32, MAX_SAMPLES = 1 << 20, BATCH = 1000, STALL_SECONDS = 60 };

static struct options {
        const char *brokers, *topic, *mode, *overrides[MAX_OVERRIDES], *topic_configs[MAX_OVERRIDES];
        int partitions, size, override_count, topic_config_count, text, rate, seconds;
        int64_t bytes;
        pid_t server;
} opt = {.partitions = 1, .size = 1024, .bytes = 100000000, .rate = 1000, .seconds = 5};

static int64_t delivered, failed;
static uint32_t samples[MAX_SAMPLES];
static size_t sample_count;
static struct traffic { double tx, tx_bytes, rx, rx_bytes; } traffic;

/* ---------------------------------------------------------------- settings */
/* The totals stand at the top level of librdkafka's statistics, before the lists of brokers and topics, but only newer versions
 * put them there; so take the last occurrence, which is the top-level one in every version. */
static double last_number_after(const char *json, const char *key) {
        double value = 0;
        for (const char *at = json; (at = strstr(at, key)) != NULL; at += strlen(key)) value = strtod(at + strlen(key), NULL);
        return value;
}

static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque) {
        (void)rk, (void)len, (void)opaque;
        traffic = (struct traffic){last_number_after(json, "\"tx\":"), last_number_after(json, "\"tx_bytes\":"),
                                   last_number_after(json, "\"rx\":"), last_number_after(json, "\"rx_bytes\":")};
        return 0;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        if (message->err) {
                if (failed++ == 0) fprintf(stderr, "log_load: delivery: %s\n", rd_kafka_err2str(message->err));
        } else if (delivered++ % 16 == 0 && sample_count < MAX_SAMPLES) {
                samples[sample_count++] = (uint32_t)rd_kafka_message_latency(message);
        }
}

/* Cuts a copy of KEY=VALUE in two: `pair` is the key, what is returned the value. */
static char *split(char *pair, size_t room, const char *text) {
        snprintf(pair, room, "%s", text);
        char *equals = strchr(pair, '=');
        if (!equals) die("KEY=VALUE", text);
        *equals = 0;
        return equals + 1;
}

static rd_kafka_t *client(rd_kafka_type_t type, int low_latency) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", opt.brokers);
        set(conf, "broker.address.family", "v4");
        set(conf, "statistics.interval.ms", "100");
        rd_kafka_conf_set_stats_cb(conf, on_stats);
        if (type == RD_KAFKA_PRODUCER) { /* rdkafka_performance's settings; linger.ms stays at its default, 5 */
                set(conf, "acks", "all");
                set(conf, "queue.buffering.max.messages", "500000");
                set(conf, "message.send.max.retries", "3");
                set(conf, "retry.backoff.ms", "500");
                if (low_latency) set(conf, "linger.ms", "0");
                rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        } else {
                set(conf, "group.id", "log_load");
                set(conf, "enable.auto.commit", "false");
                set(conf, "enable.partition.eof", "false");
                set(conf, "queued.min.messages", "1000000");
        }
        for (int i = 0; i < opt.override_count; i++) {
                char pair[256], *value = split(pair, sizeof pair, opt.overrides[i]);
                set(conf, pair, value);
        }
        char error[512];
        rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);
        if (!rk) die("client", error);
        return rk;
}

/* ---------------------------------------------------------------- payload */
static char *payload_pool(void) {
        static const char *words[] = {"cheer", "happy", "animation", "channel", "recipient", "reaction", "emotion", "timestamp"};
        char *pool = malloc(POOL_BYTES + opt.size);
        uint64_t x = 88172645463325252ull;
        for (int i = 0; i < POOL_BYTES + opt.size;) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                if (opt.text && (x >> 60) < 10) {
                        const char *word = words[(x >> 8) % 8];
                        while (*word && i < POOL_BYTES + opt.size) pool[i++] = *word++;
                } else {
                        pool[i++] = opt.text ? (char)('0' + (x >> 16) % 10) : (char)(x >> 16);
                }
        }
        return pool;
}

/* ---------------------------------------------------------------- topics */
static void admin(int create) {
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, 0);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        char error[512];
        if (create) {
                rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(opt.topic, opt.partitions, 1, error, sizeof error);
                if (!topic) die("topic", error);
                for (int i = 0; i < opt.topic_config_count; i++) {
                        char pair[256], *value = split(pair, sizeof pair, opt.topic_configs[i]);
                        rd_kafka_NewTopic_set_config(topic, pair, value);
                }
                rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
        } else {
                rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(opt.topic);
                rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
        }
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
        if (!event || rd_kafka_event_error(event)) die(opt.mode, event ? rd_kafka_event_error_string(event) : "no answer");
        size_t count = 0;
        const rd_kafka_topic_result_t **results = create
            ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
            : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
        for (size_t i = 0; i < count; i++)
                if (rd_kafka_topic_result_error(results[i])) die(opt.mode, rd_kafka_err2str(rd_kafka_topic_result_error(results[i])));
        printf("{}\n");
        exit(0);
}

/* ---------------------------------------------------------------- results */
static void report(int64_t records, double seconds, double cpu_seconds) {
        sort_samples(samples, sample_count);
        printf("{\"records\":%" PRId64 ",\"payload_bytes\":%" PRId64 ",\"failed\":%" PRId64 ",\"seconds\":%.4f,\"cpu_seconds\":%.4f,"
               "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"requests\":%.0f,\"tx_bytes\":%.0f,\"rx_bytes\":%.0f}\n",
               records, records * opt.size, failed, seconds, cpu_seconds, quantile_ms(samples, sample_count, 0.5),
               quantile_ms(samples, sample_count, 0.99), quantile_ms(samples, sample_count, 0.999),
               traffic.tx, traffic.tx_bytes, traffic.rx_bytes);
        fflush(stdout);
        _exit(failed ? 1 : 0); /* librdkafka's orderly end takes seconds, and nobody waits for it */
}

static void last_stats(rd_kafka_t *rk) {
        for (int i = 0; i < 3; i++) rd_kafka_poll(rk, 100);
}

/* ---------------------------------------------------------------- produce */
static void await_metadata(rd_kafka_t *rk, rd_kafka_topic_t *topic) {
        const struct rd_kafka_metadata *metadata;
        rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &metadata, 20000);
        if (err) die("metadata", rd_kafka_err2str(err));
        rd_kafka_metadata_destroy(metadata);
}

static void produce(void) {
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, 0);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char *pool = payload_pool();
        const int64_t count = opt.bytes / opt.size;
        await_metadata(rk, topic);
        double cpu = cpu_seconds_of(opt.server), start = monotonic_seconds();
        for (int64_t i = 0; i < count; i++) {
                char *payload = pool + (i * 61) % POOL_BYTES;
                while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, payload, opt.size, NULL, 0, NULL) == -1) {
                        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
                        rd_kafka_poll(rk, 10);
                }
                if (i % 256 == 0) rd_kafka_poll(rk, 0);
        }
        while (delivered + failed < count) {
                if (monotonic_seconds() - start > STALL_SECONDS * 5) die("produce", "the server does not keep up");
                rd_kafka_poll(rk, 20);
        }
        double seconds = monotonic_seconds() - start;
        cpu = cpu_seconds_of(opt.server) - cpu;
        last_stats(rk);
        report(delivered, seconds, cpu);
}

/* ---------------------------------------------------------------- fetch */
static rd_kafka_queue_t *assign_all(rd_kafka_t *rk) {
        rd_kafka_poll_set_consumer(rk);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(opt.partitions);
        for (int i = 0; i < opt.partitions; i++)
                rd_kafka_topic_partition_list_add(list, opt.topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
        rd_kafka_resp_err_t err = rd_kafka_assign(rk, list);
        if (err) die("assign", rd_kafka_err2str(err));
        return rd_kafka_queue_get_consumer(rk);
}

static void consume(void) {
        rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, 0);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        static rd_kafka_message_t *messages[BATCH];
        const int64_t count = opt.bytes / opt.size;
        int64_t seen = 0;
        await_metadata(rk, topic);
        double cpu = cpu_seconds_of(opt.server), start = monotonic_seconds(), last = start;
        rd_kafka_queue_t *queue = assign_all(rk);
        while (seen < count) {
                ssize_t got = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH);
                for (ssize_t i = 0; i < got; i++) {
                        if (!messages[i]->err) seen++, last = 0;
                        else fprintf(stderr, "log_load: fetch: %s\n", rd_kafka_message_errstr(messages[i]));
                        rd_kafka_message_destroy(messages[i]);
                }
                double now = monotonic_seconds();
                if (last == 0) last = now;
                if (now - last > STALL_SECONDS) die("fetch", "no record for 60 s");
        }
        double seconds = monotonic_seconds() - start;
        cpu = cpu_seconds_of(opt.server) - cpu;
        for (int i = 0; i < 3; i++) rd_kafka_consume_batch_queue(queue, 100, messages, BATCH);
        report(seen, seconds, cpu);
}

/* ---------------------------------------------------------------- latency of single records */
static atomic_int sending_over;

static void *paced_producer(void *unused) {
        (void)unused;
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, 1);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char *payload = payload_pool();
        await_metadata(rk, topic);
        double start = monotonic_seconds() + 0.1;
        for (int64_t i = 0; i < (int64_t)opt.rate * opt.seconds; i++) {
                double due = start + (double)i / opt.rate, now = monotonic_seconds();
                if (due > now) usleep((useconds_t)((due - now) * 1e6));
                now = monotonic_seconds();
                memcpy(payload, &now, sizeof now);
                rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, payload, opt.size, NULL, 0, NULL);
                rd_kafka_poll(rk, 0);
        }
        if (rd_kafka_flush(rk, 10000)) die("latency", "records are left unsent");
        atomic_store(&sending_over, 1);
        return NULL;
}

/* Produce to consume, one record at a time, in one process so that one clock times both ends. The first second warms up. */
static void latency(void) {
        rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, 0);
        await_metadata(rk, rd_kafka_topic_new(rk, opt.topic, NULL));
        rd_kafka_queue_t *queue = assign_all(rk);
        pthread_t producer;
        if (pthread_create(&producer, NULL, paced_producer, NULL)) die("thread", strerror(errno));
        const int64_t count = (int64_t)opt.rate * opt.seconds;
        double cpu = cpu_seconds_of(opt.server), start = monotonic_seconds();
        for (int64_t seen = 0; seen < count;) {
                rd_kafka_message_t *message = NULL;
                ssize_t got = rd_kafka_consume_batch_queue(queue, 1000, &message, 1);
                if (monotonic_seconds() - start > opt.seconds + STALL_SECONDS) die("latency", "records are missing");
                if (got < 1) continue;
                if (!message->err) {
                        double sent, now = monotonic_seconds();
                        memcpy(&sent, message->payload, sizeof sent);
                        if (seen++ >= opt.rate && sample_count < MAX_SAMPLES) samples[sample_count++] = (uint32_t)((now - sent) * 1e6);
                }
                rd_kafka_message_destroy(message);
        }
        double seconds = monotonic_seconds() - start;
        cpu = cpu_seconds_of(opt.server) - cpu;
        pthread_join(producer, NULL);
        delivered = 0;
        report(count, seconds, cpu);
}

/* ---------------------------------------------------------------- main */
static void usage(void) {
        fprintf(stderr, "usage: log_load create|delete|produce|fetch|latency -b HOST:PORT -t TOPIC [-p PARTITIONS] [-s RECORD_BYTES] [-n BYTES]\n"
                        "                [-P SERVER_PID] [-r RECORDS_PER_S] [-d SECONDS] [-T (text payload)] [-X key=value]... [-C topic-config=value]...\n");
        exit(2);
}

int main(int argc, char **argv) {
        if (argc < 2) usage();
        opt.mode = argv[1];
        for (int c; (c = getopt(argc - 1, argv + 1, "b:t:p:s:n:P:r:d:X:C:T")) != -1;) switch (c) {
                case 'b': opt.brokers = optarg; break;
                case 't': opt.topic = optarg; break;
                case 'p': opt.partitions = atoi(optarg); break;
                case 's': opt.size = atoi(optarg); break;
                case 'n': opt.bytes = atoll(optarg); break;
                case 'P': opt.server = atoi(optarg); break;
                case 'r': opt.rate = atoi(optarg); break;
                case 'd': opt.seconds = atoi(optarg); break;
                case 'T': opt.text = 1; break;
                case 'X': if (opt.override_count < MAX_OVERRIDES) opt.overrides[opt.override_count++] = optarg; break;
                case 'C': if (opt.topic_config_count < MAX_OVERRIDES) opt.topic_configs[opt.topic_config_count++] = optarg; break;
                default: usage();
        }
        if (!opt.brokers || !opt.topic || opt.size < 16 || opt.partitions < 1) usage();
        if (!strcmp(opt.mode, "create")) admin(1);
        else if (!strcmp(opt.mode, "delete")) admin(0);
        else if (!strcmp(opt.mode, "produce")) produce();
        else if (!strcmp(opt.mode, "fetch")) consume();
        else if (!strcmp(opt.mode, "latency")) latency();
        usage();
}
