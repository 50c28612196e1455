/*
 * window_load: events for a windowed count, and the counts that come out, on librdkafka.
 *
 * Job: `fill` writes events whose times rise by a fixed step, `ends` some that are later and push the last windows out (for who counts
 * what is silent never: only when it has read all others, or those come late); `drain` reads rows until they have counted every event;
 * `pace` writes events of this moment at a steady rate, whatever becomes of the server; `live` does so too, and times each row from its window's end to its arrival. Place: bench/run starts it, see harness/aggregate.py. Prints one JSON line.
 * It must never: know which system counts. An event is 296 bytes of JSON; a row is JSON with `"count":N` and `"window_end":MS` in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

enum { EVENT_BYTES = 296, BATCH = 1000, MAX_SAMPLES = 1 << 20, STALL_SECONDS = 120, ENDS_PER_PARTITION = 40, WARM_WINDOWS = 2,
       REACTIONS = 10, FIELDS = 9, FIELD_BYTES = 80 };
static const int64_t END_AFTER_MS = 40 * 60 * 1000;
static const int64_t WINDOW_MS = 2000;
/* Who is early by less sends at once: sleeping takes longer than it is told to. */
static const double SHORTEST_SLEEP_S = 0.0001;

static struct options {
        const char *brokers, *topic, *out, *mode, *codec;
        int partitions, groups, users, rate, seconds, is_shuffled;
        int64_t events, step_us, base_ms, expected;
        pid_t server;
} opt = {.partitions = 6, .groups = 500, .users = 100000, .rate = 5000, .seconds = 20, .codec = "none", .events = 1000000, .step_us = 10};

static int64_t delivered, failed;
static uint32_t samples[MAX_SAMPLES];
static size_t sample_count;
static atomic_int sending_over;
static double quiet_ms = -1;

static int64_t now_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        if (!message->err) delivered++;
        else if (failed++ == 0) fprintf(stderr, "window_load: delivery: %s\n", rd_kafka_err2str(message->err));
}

static rd_kafka_t *client(rd_kafka_type_t type, int low_latency) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", opt.brokers);
        set(conf, "broker.address.family", "v4");
        if (type == RD_KAFKA_PRODUCER) {
                set(conf, "acks", "all");
                set(conf, "compression.codec", opt.codec);
                set(conf, "queue.buffering.max.messages", "500000");
                set(conf, "linger.ms", low_latency ? "0" : "20");
                set(conf, "batch.num.messages", "10000");
                set(conf, "reconnect.backoff.ms", "10");
                set(conf, "reconnect.backoff.max.ms", "50");
                if (low_latency) set(conf, "socket.nagle.disable", "true");
                rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        } else {
                set(conf, "group.id", "window_load");
                set(conf, "enable.auto.commit", "false");
                set(conf, "isolation.level", "read_committed");
                set(conf, "fetch.wait.max.ms", "100");
                set(conf, "topic.metadata.refresh.interval.ms", "200");
                set(conf, "allow.auto.create.topics", "false");
        }
        char error[512];
        rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);
        if (!rk) die("client", error);
        return rk;
}

/* ---------------------------------------------------------------- events */
static uint64_t mixed(uint64_t x) {
        x += 0x9e3779b97f4a7c15ull;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ x >> 27) * 0x94d049bb133111ebull;
        return x ^ x >> 31;
}

/* Another order for each number: Fisher and Yates' shuffle. */
static void shuffle(char *fields[FIELDS], int64_t number) {
        uint64_t random = mixed((uint64_t)number ^ 0x5eed);
        for (int last = FIELDS - 1; last > 0; random /= (uint64_t)last + 1, last--) {
                int other = (int)(random % ((uint64_t)last + 1));
                char *field = fields[last];
                fields[last] = fields[other], fields[other] = field;
        }
}

/* Channel and reaction by group; all in one line, padded to its size. */
static void event(char *out, int64_t number, int64_t time_ms, const char *channel, int group) {
        char texts[FIELDS][FIELD_BYTES], *fields[FIELDS];
        for (int i = 0; i < FIELDS; i++) fields[i] = texts[i];
        snprintf(texts[0], FIELD_BYTES, "\"emoji_id\":\"e-%05d\"", group);
        snprintf(texts[1], FIELD_BYTES, "\"user_id\":\"u-%08" PRId64 "\"", number % opt.users);
        snprintf(texts[2], FIELD_BYTES, "\"timestamp\":%" PRId64, time_ms);
        snprintf(texts[3], FIELD_BYTES, "\"emoji_type\":\"animation\"");
        snprintf(texts[4], FIELD_BYTES, "\"message_id\":\"m-%012" PRId64 "\"", number);
        snprintf(texts[5], FIELD_BYTES, "\"recipient_id\":\"%s%05d\"", channel, group / REACTIONS);
        snprintf(texts[6], FIELD_BYTES, "\"channel_id\":\"%s%05d\"", channel, group / REACTIONS);
        snprintf(texts[7], FIELD_BYTES, "\"event_id\":\"match-7\"");
        snprintf(texts[8], FIELD_BYTES, "\"metadata\":{\"reaction\":\"r-%02d\",\"emotion\":\"happy\"}", group % REACTIONS);
        if (opt.is_shuffled) shuffle(fields, number);
        int length = 0;
        for (int i = 0; i < FIELDS; i++) length += snprintf(out + length, (size_t)(EVENT_BYTES + 1 - length), "%c%s", i ? ',' : '{', fields[i]);
        length += snprintf(out + length, (size_t)(EVENT_BYTES + 1 - length), ",\"pad\":\"");
        if (length > EVENT_BYTES - 2) die("event", "longer than its size");
        memset(out + length, 'x', (size_t)(EVENT_BYTES - 2 - length));
        memcpy(out + EVENT_BYTES - 2, "\"}", 2);
}

static void send_event(rd_kafka_t *rk, rd_kafka_topic_t *topic, int partition, int64_t time_ms, char *payload) {
        for (;;) {
                rd_kafka_resp_err_t err = rd_kafka_producev(rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_TIMESTAMP(time_ms),
                        RD_KAFKA_V_VALUE(payload, EVENT_BYTES), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
                if (!err) return;
                if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(err));
                rd_kafka_poll(rk, 10);
        }
}

static void await_all(rd_kafka_t *rk, int64_t count) {
        for (double start = monotonic_seconds(); delivered + failed < count; rd_kafka_poll(rk, 20))
                if (monotonic_seconds() - start > STALL_SECONDS) die("produce", "the server does not keep up");
        if (failed) die("produce", "events are lost");
}

/* A group's events are all in one partition, as those of a key are. */
static void fill(void) {
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, 0);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char payload[EVENT_BYTES + 1];
        double cpu = cpu_seconds_of(opt.server), start = monotonic_seconds();
        for (int64_t i = 0; i < opt.events; i++) {
                int group = (int)(mixed((uint64_t)i) % (uint64_t)opt.groups);
                int64_t time_ms = opt.base_ms + i * opt.step_us / 1000;
                event(payload, i, time_ms, "ch-", group);
                send_event(rk, topic, group % opt.partitions, time_ms, payload);
                if (i % 256 == 0) rd_kafka_poll(rk, 0);
        }
        await_all(rk, opt.events);
        printf("{\"events\":%" PRId64 ",\"seconds\":%.4f,\"cpu_seconds\":%.4f}\n", opt.events, monotonic_seconds() - start, cpu_seconds_of(opt.server) - cpu);
        fflush(stdout);
        _exit(0);
}

/* So many, of so many groups, in each partition: who groups them anew sends some to each of its own. */
static void ends(void) {
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, 0);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char payload[EVENT_BYTES + 1];
        int64_t sent = 0;
        for (int partition = 0; partition < opt.partitions; partition++)
                for (int end = 0; end < ENDS_PER_PARTITION; end++, sent++) {
                        event(payload, sent, opt.base_ms + END_AFTER_MS, "end", end * REACTIONS);
                        send_event(rk, topic, partition, opt.base_ms + END_AFTER_MS, payload);
                }
        await_all(rk, sent);
        printf("{\"events\":%" PRId64 "}\n", sent);
        fflush(stdout);
        _exit(0);
}

/* ---------------------------------------------------------------- rows */
static int64_t number_after(const char *json, const char *key) {
        const char *at = strstr(json, key);
        if (!at) die("row", json);
        return strtoll(at + strlen(key), NULL, 10);
}

static rd_kafka_queue_t *assign(rd_kafka_t *rk, int partitions) {
        rd_kafka_poll_set_consumer(rk);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
        for (int i = 0; i < partitions; i++) rd_kafka_topic_partition_list_add(list, opt.out, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
        rd_kafka_resp_err_t err = rd_kafka_assign(rk, list);
        if (err) die("assign", rd_kafka_err2str(err));
        return rd_kafka_queue_get_consumer(rk);
}

/* The topic may be made by whoever counts, a moment later. */
static int partitions_of_out(rd_kafka_t *rk) {
        for (double start = monotonic_seconds();; usleep(20000)) {
                const struct rd_kafka_metadata *metadata;
                rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.out, NULL);
                int partitions = 0;
                if (!rd_kafka_metadata(rk, 0, topic, &metadata, 10000)) {
                        if (metadata->topic_cnt == 1 && !metadata->topics[0].err) partitions = metadata->topics[0].partition_cnt;
                        rd_kafka_metadata_destroy(metadata);
                }
                if (partitions) return partitions;
                if (monotonic_seconds() - start > STALL_SECONDS) die("rows", "their topic does not come");
        }
}

static void take(rd_kafka_message_t *message, int (*on_row)(const char *row)) {
        static char text[1 << 16];
        if (!message->err && message->len < sizeof text) {
                memcpy(text, message->payload, message->len);
                text[message->len] = 0;
                on_row(text);
        }
        rd_kafka_message_destroy(message);
}

/* Calls `on_row` with each row, as text; it says when to end. Waits for one row, then takes what else is there: a batch would be waited for until it is full. */
static void rows(rd_kafka_t *rk, int (*on_row)(const char *row), int (*is_over)(void)) {
        static rd_kafka_message_t *messages[BATCH];
        rd_kafka_queue_t *queue = assign(rk, partitions_of_out(rk));
        for (double last = monotonic_seconds(); !is_over();) {
                rd_kafka_message_t *first = rd_kafka_consume_queue(queue, 50);
                if (!first) {
                        if (monotonic_seconds() - last > STALL_SECONDS) die("rows", "no row for 120 s");
                        continue;
                }
                last = monotonic_seconds();
                take(first, on_row);
                ssize_t got = rd_kafka_consume_batch_queue(queue, 0, messages, BATCH);
                for (ssize_t i = 0; i < got; i++) take(messages[i], on_row);
        }
}

static int64_t row_count, counted;

static int count_row(const char *row) {
        if (strstr(row, "\"channel_id\":\"end")) return 0;
        row_count++, counted += number_after(row, "\"count\":");
        return 0;
}

static int all_counted(void) { return counted >= opt.expected; }

static void drain(void) {
        double start = monotonic_seconds();
        rows(client(RD_KAFKA_CONSUMER, 1), count_row, all_counted);
        printf("{\"rows\":%" PRId64 ",\"counted\":%" PRId64 ",\"seconds\":%.4f,\"cpu_seconds\":%.4f}\n", row_count, counted, monotonic_seconds() - start,
               cpu_seconds_of(opt.server));
        fflush(stdout);
        _exit(counted == opt.expected ? 0 : 1);
}

/* ---------------------------------------------------------------- rows of this moment */
static int64_t first_end, last_end, ended_ms;

static void send_at_rate(rd_kafka_t *rk) {
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char payload[EVENT_BYTES + 1];
        double start = monotonic_seconds();
        const int64_t count = (int64_t)opt.rate * opt.seconds;
        for (int64_t i = 0; i < count; i++) {
                double early = start + (double)i / opt.rate - monotonic_seconds();
                if (early > SHORTEST_SLEEP_S) usleep((useconds_t)(early * 1e6));
                int64_t time_ms = now_ms();
                event(payload, i, time_ms, "ch-", (int)(mixed((uint64_t)i) % (uint64_t)opt.groups));
                send_event(rk, topic, (int)(i % opt.partitions), time_ms, payload);
                rd_kafka_poll(rk, 0);
        }
        await_all(rk, count);
}

static void *paced_producer(void *unused) {
        (void)unused;
        send_at_rate(client(RD_KAFKA_PRODUCER, 1));
        ended_ms = now_ms();
        atomic_store(&sending_over, 1);
        return NULL;
}

static void pace(void) {
        double start = monotonic_seconds();
        send_at_rate(client(RD_KAFKA_PRODUCER, 0));
        printf("{\"sent\":%" PRId64 ",\"seconds\":%.4f}\n", (int64_t)opt.rate * opt.seconds, monotonic_seconds() - start);
        fflush(stdout);
        _exit(0);
}

/* The first windows warm up. Rows that come when the sending is over are those of the last window: it ends by silence. */
static int time_row(const char *row) {
        int64_t end = number_after(row, "\"window_end\":"), late = now_ms() - end;
        count_row(row);
        if (!first_end) first_end = end;
        last_end = end > last_end ? end : last_end;
        if (atomic_load(&sending_over) && end > ended_ms / WINDOW_MS * WINDOW_MS) {
                if (late > quiet_ms) quiet_ms = (double)late;
        } else if (end > first_end + WARM_WINDOWS * WINDOW_MS && sample_count < MAX_SAMPLES) {
                samples[sample_count++] = (uint32_t)(late > 0 ? late * 1000 : 0);
        }
        return 0;
}

static double over_since;

/* Who closes no window in silence never gives the last window: that is waited for no longer than this. */
static int live_is_over(void) {
        if (!atomic_load(&sending_over)) return 0;
        if (over_since == 0) over_since = monotonic_seconds();
        return counted >= (int64_t)opt.rate * opt.seconds || monotonic_seconds() - over_since > 15;
}

static void live(void) {
        pthread_t producer;
        rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, 1);
        if (pthread_create(&producer, NULL, paced_producer, NULL)) die("thread", strerror(errno));
        rows(rk, time_row, live_is_over);
        pthread_join(producer, NULL);
        sort_samples(samples, sample_count);
        printf("{\"rows\":%" PRId64 ",\"counted\":%" PRId64 ",\"sent\":%" PRId64 ",\"timed\":%zu,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"quiet_ms\":%.0f}\n", row_count, counted,
               (int64_t)opt.rate * opt.seconds, sample_count, quantile_ms(samples, sample_count, 0.5), quantile_ms(samples, sample_count, 0.99), quiet_ms);
        fflush(stdout);
        _exit(0);
}

/* ---------------------------------------------------------------- main */
static void usage(void) {
        fprintf(stderr, "usage: window_load fill|ends|pace|drain|live -b HOST:PORT -t RAW_TOPIC [-o ROW_TOPIC] [-p PARTITIONS] [-g GROUPS] [-u USERS] [-n EVENTS]\n"
                        "                   [-s STEP_US] [-B FIRST_TIME_MS] [-z CODEC] [-P SERVER_PID] [-e EXPECTED_EVENTS] [-r EVENTS_PER_S] [-d SECONDS] [-S (fields in any order)]\n");
        exit(2);
}

int main(int argc, char **argv) {
        if (argc < 2) usage();
        opt.mode = argv[1];
        for (int c; (c = getopt(argc - 1, argv + 1, "b:t:o:p:g:u:n:s:B:z:P:e:r:d:S")) != -1;) switch (c) {
                case 'b': opt.brokers = optarg; break;
                case 't': opt.topic = optarg; break;
                case 'o': opt.out = optarg; break;
                case 'p': opt.partitions = atoi(optarg); break;
                case 'g': opt.groups = atoi(optarg); break;
                case 'u': opt.users = atoi(optarg); break;
                case 'n': opt.events = atoll(optarg); break;
                case 's': opt.step_us = atoll(optarg); break;
                case 'B': opt.base_ms = atoll(optarg); break;
                case 'z': opt.codec = optarg; break;
                case 'P': opt.server = atoi(optarg); break;
                case 'e': opt.expected = atoll(optarg); break;
                case 'r': opt.rate = atoi(optarg); break;
                case 'd': opt.seconds = atoi(optarg); break;
                case 'S': opt.is_shuffled = 1; break;
                default: usage();
        }
        if (!opt.brokers || !opt.topic || opt.partitions < 1 || opt.groups < 1 || opt.users < 1) usage();
        if (!strcmp(opt.mode, "fill")) fill();
        if (!strcmp(opt.mode, "ends")) ends();
        if (!strcmp(opt.mode, "pace")) pace();
        if (!opt.out) usage();
        if (!strcmp(opt.mode, "drain")) drain();
        if (!strcmp(opt.mode, "live")) live();
        usage();
}
