/* Clocks, and how long messages took. */
#ifndef LOAD_TIME_H
#define LOAD_TIME_H

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FINE 64 /* buckets for each power of two: 1.6 per cent of the value */
#define BUCKETS (FINE * 60)

static uint64_t histogram[BUCKETS];

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* User and system time of a process with all its threads, nanoseconds; 0 if it is gone. */
static uint64_t process_ns(pid_t pid)
{
    clockid_t clock;
    return pid && clock_getcpuclockid(pid, &clock) == 0 ? clock_ns(clock) : 0;
}

/* Values below FINE have a bucket each; above, each power of two has FINE. */
static void histogram_add(uint64_t ns)
{
    int shift = ns < FINE ? 0 : 57 - __builtin_clzll(ns);
    histogram[ns < FINE ? ns : (uint64_t)shift * FINE + (ns >> shift)]++;
}

/* The time within which a part of the messages was answered, microseconds. */
static double histogram_part(double part)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        total += histogram[i];
    for (size_t i = 0; total && i < BUCKETS; i++) {
        seen += histogram[i];
        if ((double)seen >= part * (double)total) {
            uint64_t shift = i < 2 * FINE ? 0 : i / FINE - 1;
            return (double)((i - shift * FINE) << shift) / 1000.0;
        }
    }
    return 0;
}

#endif
