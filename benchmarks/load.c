/* A load generator for echo servers that verifies every byte. One thread, epoll.
 *
 *   load MODE ADDRESS [options]     MODE: ping, bulk, duplex, connect, idle
 *
 * ADDRESS is 127.0.0.1:PORT or the path of a UNIX socket.
 *
 * ping     connections that each send a message and wait for the reply, again and again;
 *          with --idle beside so many more that are silent
 * bulk     one stream of --size bytes each way
 * duplex   the same with blocking calls: a thread sends 64 KiB, another one receives up to 1 MiB
 * connect  connections of one message each, --connections at a time
 * idle     connections that are silent after one message, until a line comes on stdin
 *
 * One JSON object goes to stdout. The exit status is 0 if all bytes were right, 1 if
 * not, 2 if it could not begin.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "load_check.h"
#include "load_time.h"
#include "load_tls.h"

#define SOURCES 8     /* 127.0.0.2 and following, in turn: one has too few ports */
#define AT_ONCE 32    /* connections being opened at a time */
#define READ 262144   /* bytes at most in one read */
#define BATCH 512     /* events at most in one turn */

enum state { CLOSED, CONNECTING, HANDSHAKE, TALKING, HELD, ENDING };

struct link {
    int fd;
    enum state state;
    int idle;             /* one message, then silence */
    int writable;         /* EPOLLOUT is asked for */
    int ended;            /* our FIN is sent */
    void *session;        /* of TLS */
    uint64_t number;      /* of the connection */
    uint64_t message;
    uint64_t sent;        /* bytes of the message */
    uint64_t began;       /* ns */
    struct check check;
};

static struct {
    int ping, bulk, duplex, connect, hold, tls, late;
    const char *mode, *address;
    uint64_t connections, size, idle, pid;
    double seconds, warm, limit;
} options = {.connections = 1, .size = 64, .seconds = 1, .warm = 0.1, .limit = 60};

static struct {
    uint64_t opening, open, held, ready, made, messages, failures;
    uint64_t counted, from, until, load, server; /* of the window; all but counted ns */
    int measuring, stopping;
    char fault[200];
} now;

static int poller;
static struct link *links;
static uint64_t link_count;
static unsigned char buffer[READ];

static int usage(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    return 2;
}

#include "load_link.h"
#include "load_duplex.h"

/* -- the window that is measured ------------------------------------------------- */

static void window_open(void)
{
    memset(histogram, 0, sizeof histogram);
    now.measuring = 1;
    now.counted = now.messages;
    now.load = process_ns(getpid());
    now.server = process_ns((pid_t)options.pid);
    now.from = now_ns();
}

static void window_close(void)
{
    now.until = now_ns();
    now.server = process_ns((pid_t)options.pid) - now.server;
    now.load = process_ns(getpid()) - now.load;
    now.counted = now.messages - now.counted;
    now.measuring = 0;
    now.stopping = 1;
}

static void report(void)
{
    double seconds = (double)(now.until - now.from) / 1e9;
    printf("{\"mode\": \"%s\", \"connections\": %llu, \"size\": %llu, \"messages\": %llu,"
           " \"seconds\": %.9f, \"server_cpu\": %.9f, \"load_cpu\": %.9f, \"p50_us\": %.3f,"
           " \"p99_us\": %.3f, \"p999_us\": %.3f, \"failures\": %llu, \"fault\": \"%s\"}\n",
           options.mode, (unsigned long long)options.connections,
           (unsigned long long)options.size, (unsigned long long)now.counted, seconds,
           (double)now.server / 1e9, (double)now.load / 1e9, histogram_part(0.5),
           histogram_part(0.99), histogram_part(0.999), (unsigned long long)now.failures,
           now.fault);
}

/* -- turns of the loop ------------------------------------------------------------ */

/* Wait for events until the time, nanoseconds, and handle those that there are. */
static void turn(uint64_t until)
{
    struct epoll_event events[BATCH];
    uint64_t time = now_ns();
    int left = until > time ? (int)((until - time) / 1000000 + 1) : 0;
    int count = epoll_wait(poller, events, BATCH, left);
    for (int i = 0; i < count; i++)
        link_event(events[i].data.ptr, events[i].events);
}

/* Turn until it is true, but no longer than until the time. */
#define TURN_UNTIL(true, time) \
    while (!(true) && now_ns() < (time) && !now.failures) \
        turn(time)

static uint64_t after(double seconds)
{
    return now_ns() + (uint64_t)(seconds * 1e9);
}

/* Open so many connections, a few at a time, and wait until each has had an answer;
 * in the mode that opens new ones all the time, there is no such moment. */
static void open_links(uint64_t from, uint64_t count, int idle, uint64_t limit)
{
    for (uint64_t i = from; i < from + count && !now.failures; i++) {
        links[i].idle = idle;
        link_open(&links[i]);
        TURN_UNTIL(now.opening < AT_ONCE || options.connect, limit);
    }
    TURN_UNTIL(!now.opening || options.connect, limit);
}

/* Tell the starter that all are held; go on when it says so, or has gone. */
static void wait_for_word(void)
{
    char word[16];
    printf("{\"held\": %llu}\n", (unsigned long long)now.held);
    fflush(stdout);
    ssize_t ignored = read(0, word, sizeof word);
    (void)ignored;
}

static void measure(uint64_t limit)
{
    if (!options.bulk) {
        uint64_t warm = after(options.warm);
        TURN_UNTIL(0, warm < limit ? warm : limit);
    }
    window_open();
    if (options.bulk) {
        open_links(0, 1, 0, limit);
        TURN_UNTIL(!now.open, limit);
    } else {
        uint64_t end = after(options.seconds);
        TURN_UNTIL(0, end < limit ? end : limit);
        /* On a busy machine none may be done by then: a figure is of one at least. */
        TURN_UNTIL(now.messages > now.counted, limit);
    }
    window_close();
}

static void run_duplex(void)
{
    struct link *link = &links[0];
    window_open();
    if (duplex_open(link))
        duplex_run(link);
    window_close();
}

static void run(uint64_t limit)
{
    open_links(options.connections, options.idle, 1, limit);
    if (options.hold && !now.failures)
        wait_for_word();
    if (!options.hold && !options.bulk)
        open_links(0, options.connections, 0, limit);
    if (!options.hold)
        measure(limit);
    now.stopping = 1;
    for (uint64_t i = 0; i < link_count && !now.failures; i++)
        if (links[i].state == HELD)
            link_finish(&links[i]);
    TURN_UNTIL(!now.open, limit);
    if (now.open && !now.failures)
        fail(NULL, "not all came back, or not every connection ended, in time");
}

/* -- the command line --------------------------------------------------------------- */

static const struct option long_options[] = {
    {"connections", required_argument, NULL, 'c'}, {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'},     {"warm", required_argument, NULL, 'w'},
    {"idle", required_argument, NULL, 'i'},        {"pid", required_argument, NULL, 'p'},
    {"limit", required_argument, NULL, 'l'},       {"tls", no_argument, NULL, 'T'},
    {"late-fin", no_argument, NULL, 'f'},          {"prefix-varies", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0}};

static int take_options(int count, char **arguments)
{
    for (int option; (option = getopt_long(count, arguments, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'c': options.connections = strtoull(optarg, NULL, 10); break;
        case 's': options.size = strtoull(optarg, NULL, 10); break;
        case 't': options.seconds = strtod(optarg, NULL); break;
        case 'w': options.warm = strtod(optarg, NULL); break;
        case 'i': options.idle = strtoull(optarg, NULL, 10); break;
        case 'p': options.pid = strtoull(optarg, NULL, 10); break;
        case 'l': options.limit = strtod(optarg, NULL); break;
        case 'T': options.tls = 1; break;
        case 'f': options.late = 1; break;
        case 'v': prefix_varies = 1; break;
        default: return 0;
        }
    }
    return optind + 2 == count && options.connections > 0 && options.size > 0;
}

static int take_mode(const char *mode)
{
    options.mode = mode;
    options.ping = strcmp(mode, "ping") == 0;
    options.bulk = strcmp(mode, "bulk") == 0;
    options.duplex = strcmp(mode, "duplex") == 0;
    options.connect = strcmp(mode, "connect") == 0;
    options.hold = strcmp(mode, "idle") == 0;
    if (options.hold) {
        options.idle = options.connections;
        options.connections = 0;
    }
    return options.ping || options.bulk || options.duplex || options.connect || options.hold;
}

int main(int count, char **arguments)
{
    if (!take_options(count, arguments) || !take_mode(arguments[optind]))
        return usage("load ping|bulk|duplex|connect|idle ADDRESS [--connections N] [--size BYTES] ...");
    options.address = arguments[optind + 1];
    if (options.duplex && options.tls)
        return usage("duplex is without TLS");
    const char *missing = options.tls ? tls_open() : NULL;
    if (missing)
        return usage("OpenSSL is not installed");
    if (!take_address(options.address))
        return usage("not an address");
    signal(SIGPIPE, SIG_IGN);
    make_pattern();
    poller = epoll_create1(0);
    link_count = options.connections + options.idle;
    links = calloc(link_count, sizeof *links);
    if (options.duplex)
        run_duplex();
    else
        run(after(options.limit));
    report();
    return now.failures != 0;
}
