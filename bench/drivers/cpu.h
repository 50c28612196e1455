/* cpu.h: the clock and the CPU time of another process, for the load programs. */
#pragma once
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static inline double monotonic_seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User plus system time, fields 14 and 15 of /proc/PID/stat; 0 without a process to watch. */
static inline double cpu_seconds_of(pid_t pid) {
        char path[64], line[1024];
        unsigned long user, system;
        if (pid <= 0) return 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file) return 0;
        size_t got = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        line[got] = 0;
        char *after_name = strrchr(line, ')');
        if (!after_name || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return 0;
        return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
