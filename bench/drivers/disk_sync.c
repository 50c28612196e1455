/*
 * disk_sync: how long this disk's fdatasync takes after an append of 4 KiB, one at a time. Prints one JSON line.
 *
 * Place: bench/run, part `durability`, before and after the brokers: what an fsync costs is the disk's share, not theirs.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

enum { APPENDS = 2000, BLOCK = 4096 };

int main(int argc, char **argv) {
        static uint32_t took[APPENDS];
        static char block[BLOCK];
        if (argc != 2) return fprintf(stderr, "usage: disk_sync FILE\n"), 2;
        int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
        memset(block, 'x', sizeof block);
        for (int i = 0; i < APPENDS; i++) {
                if (write(file, block, sizeof block) != BLOCK) return perror("write"), 1;
                double start = monotonic_seconds();
                if (fdatasync(file)) return perror("fdatasync"), 1;
                took[i] = (uint32_t)((monotonic_seconds() - start) * 1e6);
        }
        unlink(argv[1]);
        sort_samples(took, APPENDS);
        printf("{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f}\n", quantile_ms(took, APPENDS, 0.5),
               quantile_ms(took, APPENDS, 0.99), quantile_ms(took, APPENDS, 0.999));
}
