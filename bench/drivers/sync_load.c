/*
 * sync_load: many producers on librdkafka, each of which waits for the answer to its record before it sends the next.
 *
 * Job: what an acknowledgement costs when it is the thing that is waited for. With a rate the records are sent at their times,
 * spread over the producers, else as fast as answers come. Prints one JSON line.
 * Place: bench/run, part `durability`.
 */
#include "timed.h"

enum { ANSWER_MS = 30000 };

static struct options {
        const char *brokers, *topic;
        int partitions, size, clients, rate, seconds;
        pid_t server;
} opt = {.partitions = 1, .size = 100, .clients = 64, .seconds = 5};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk;
        if (message->err) die("delivery", rd_kafka_err2str(message->err));
        *(int *)opaque = 1;
}

static rd_kafka_t *producer(int *answered) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        char error[512];
        set(conf, "bootstrap.servers", opt.brokers);
        set(conf, "broker.address.family", "v4");
        set(conf, "acks", "all");
        set(conf, "linger.ms", "0");
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_conf_set_opaque(conf, answered);
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
        if (!rk) die("client", error);
        return rk;
}

static void send_one(rd_kafka_t *rk, rd_kafka_topic_t *topic, int partition, char *payload, int *answered) {
        *answered = 0;
        if (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, payload, opt.size, NULL, 0, NULL)) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
        double limit = monotonic_seconds() + ANSWER_MS / 1e3;
        while (!*answered) {
                rd_kafka_poll(rk, 100);
                if (monotonic_seconds() > limit) die("produce", "no answer");
        }
}

static void *run(void *number) {
        const int client = (int)(intptr_t)number;
        int answered = 0;
        rd_kafka_t *rk = producer(&answered);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, opt.topic, NULL);
        char *payload = malloc(opt.size);
        for (int i = 0; i < opt.size; i++) payload[i] = (char)(rand() >> 7);
        send_one(rk, topic, client % opt.partitions, payload, &answered);
        const double step = opt.rate ? (double)opt.clients / opt.rate : 0, first = counted_from - 1 + step * client / opt.clients;
        for (int64_t i = 0; monotonic_seconds() < counted_to; i++) {
                if (opt.rate) wait_until(first + step * (double)i);
                double sent = monotonic_seconds();
                send_one(rk, topic, client % opt.partitions, payload, &answered);
                keep(sent, monotonic_seconds());
        }
        return NULL; /* librdkafka's orderly end takes seconds, and nobody waits for it */
}

int main(int argc, char **argv) {
        for (int c; (c = getopt(argc, argv, "b:t:p:s:c:r:d:P:")) != -1;) switch (c) {
                case 'b': opt.brokers = optarg; break;
                case 't': opt.topic = optarg; break;
                case 'p': opt.partitions = atoi(optarg); break;
                case 's': opt.size = atoi(optarg); break;
                case 'c': opt.clients = atoi(optarg); break;
                case 'r': opt.rate = atoi(optarg); break;
                case 'd': opt.seconds = atoi(optarg); break;
                case 'P': opt.server = atoi(optarg); break;
                default: return 2;
        }
        if (!opt.brokers || !opt.topic || opt.clients < 1 || opt.clients > MAX_CLIENTS) {
                fprintf(stderr, "usage: sync_load -b HOST:PORT -t TOPIC [-p PARTITIONS] [-s RECORD_BYTES] [-c CLIENTS] [-r RECORDS_PER_S] [-d SECONDS] [-P SERVER_PID]\n");
                return 2;
        }
        run_timed(run, opt.clients, opt.seconds, opt.server);
        fflush(stdout);
        _exit(0);
}
