/* timed.h: clients that each do one thing and wait for its answer, again and again, for some seconds; what they did and how long it took. */
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

enum { MAX_CLIENTS = 256, MAX_SAMPLES = 1 << 21, CONNECT_AND_WARM_UP_S = 3 };

static uint32_t samples[MAX_SAMPLES];
static atomic_size_t sample_count;
static double counted_from, counted_to;

static inline void wait_until(double due) {
        double now = monotonic_seconds();
        if (due > now) usleep((useconds_t)((due - now) * 1e6));
}

/* Keeps the time of one answer, unless it lies outside the counted seconds. */
static inline void keep(double from, double to) {
        if (from < counted_from || to > counted_to) return;
        size_t at = atomic_fetch_add(&sample_count, 1);
        if (at < MAX_SAMPLES) samples[at] = (uint32_t)((to - from) * 1e6);
}

/* Runs `clients` threads, which see their number and end at `counted_to`, and prints one JSON line. */
static inline void run_timed(void *(*run)(void *), int clients, int seconds, pid_t server) {
        pthread_t threads[MAX_CLIENTS];
        counted_from = monotonic_seconds() + CONNECT_AND_WARM_UP_S;
        counted_to = counted_from + seconds;
        for (int i = 0; i < clients; i++)
                if (pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i)) die("thread", strerror(errno));
        wait_until(counted_from);
        double cpu = cpu_seconds_of(server);
        wait_until(counted_to);
        cpu = cpu_seconds_of(server) - cpu;
        for (int i = 0; i < clients; i++) pthread_join(threads[i], NULL);
        size_t counted = atomic_load(&sample_count), kept = counted < MAX_SAMPLES ? counted : MAX_SAMPLES;
        sort_samples(samples, kept);
        printf("{\"count\":%zu,\"seconds\":%d,\"rate\":%.1f,\"cpu_seconds\":%.4f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f}\n", counted, seconds,
               (double)counted / seconds, cpu, quantile_ms(samples, kept, 0.5), quantile_ms(samples, kept, 0.99), quantile_ms(samples, kept, 0.999));
}
