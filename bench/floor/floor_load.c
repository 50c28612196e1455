/*
 * floor_load: the load for floor, with frames as large as the ones librdkafka exchanged with the brokers.
 * Prints the same JSON line as log_load.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../drivers/cpu.h"
#include "crc32c.h"

static int connection;
static int64_t frames;
static char *frame;
static uint32_t frame_bytes;

static void die(const char *what) {
        perror(what);
        exit(1);
}

static void move_all(ssize_t (*move)(int, void *, size_t), void *at, size_t length) {
        for (size_t done = 0; done < length;) {
                ssize_t moved = move(connection, (char *)at + done, length - done);
                if (moved <= 0) die("connection");
                done += (size_t)moved;
        }
}

static ssize_t put(int fd, void *at, size_t length) { return write(fd, at, length); }

static void *send_frames(void *unused) {
        (void)unused;
        for (int64_t i = 0; i < frames; i++) {
                move_all(put, &frame_bytes, sizeof frame_bytes);
                move_all(put, frame, frame_bytes);
        }
        return NULL;
}

static void produce(void) {
        pthread_t sender;
        uint32_t expected = crc32c(frame, frame_bytes), answer[2];
        if (pthread_create(&sender, NULL, send_frames, NULL)) die("thread");
        for (int64_t i = 0; i < frames; i++) {
                move_all(read, answer, sizeof answer);
                if (answer[0] != expected || answer[1] != frame_bytes) die("wrong answer");
        }
        pthread_join(sender, NULL);
}

static void fetch(void) {
        for (int64_t i = 0; i < frames; i++) {
                move_all(put, &frame_bytes, sizeof frame_bytes);
                move_all(read, frame, frame_bytes);
        }
}

int main(int argc, char **argv) {
        if (argc != 6) return fprintf(stderr, "usage: floor_load produce|fetch PORT SERVER_PID FRAME_BYTES BYTES\n"), 2;
        int producing = !strcmp(argv[1], "produce"), on = 1;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        pid_t server = atoi(argv[3]);
        crc_prepare();
        frame_bytes = (uint32_t)atoi(argv[4]);
        frames = atoll(argv[5]) / frame_bytes;
        frame = malloc(frame_bytes);
        for (uint32_t i = 0; i < frame_bytes; i++) frame[i] = (char)(rand() >> 7);
        connection = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(connection, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        move_all(put, producing ? "P" : "F", 1);
        double cpu = cpu_seconds_of(server), start = monotonic_seconds();
        (producing ? produce : fetch)();
        double seconds = monotonic_seconds() - start;
        cpu = cpu_seconds_of(server) - cpu;
        printf("{\"wire_bytes\":%lld,\"seconds\":%.4f,\"cpu_seconds\":%.4f}\n", (long long)frames * frame_bytes, seconds, cpu);
}
