/* cpu.h: the clock and the CPU time of another process, for the load programs. */
#pragma once
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static inline double monotonic_seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User plus system time of a process, ended threads included: the scheduler's own nanoseconds, of which fields 14 and 15 of
 * /proc/PID/stat are the same sum in steps of 10 ms (too coarse for a fetch that takes 30). 0 without a process to watch. */
static inline double cpu_seconds_of(pid_t pid) {
        clockid_t clock;
        struct timespec t;
        if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
