/* driver.h: what the load programs share: their end by an error, librdkafka's settings, the quantiles of sampled times. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu.h"

static inline _Noreturn void die(const char *what, const char *why) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static inline void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
        char error[512];
        if (rd_kafka_conf_set(conf, key, value, error, sizeof error) != RD_KAFKA_CONF_OK) die(key, error);
}

/* Samples are in microseconds. */
static inline int by_value(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
        return x < y ? -1 : x > y;
}

static inline void sort_samples(uint32_t *samples, size_t count) { qsort(samples, count, sizeof samples[0], by_value); }

static inline double quantile_ms(const uint32_t *sorted, size_t count, double q) {
        return count ? sorted[(size_t)(q * (double)(count - 1))] / 1000.0 : 0;
}
