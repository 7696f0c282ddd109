/* The floor: the least that an echo with a prefix costs on this kernel.
 *
 *   floor ADDRESS [MANNER [KIB]]
 *
 * ADDRESS is 127.0.0.1:PORT or the path of a UNIX socket. Which loop is the cheapest depends on
 * the traffic; KIB are read at most at once (60), and MANNER is one of
 *
 *   send     one thread, level-triggered epoll; one read for each event; the reply stands behind
 *            the prefix in one buffer
 *   writev   the same, but the prefix and the data are two pieces of one call
 *   drain    as send, but it reads on until there is nothing more
 *   eager    as drain, and a new connection is read before it is registered for events
 *   threads  a thread for each connection, blocking
 *
 * Every read is answered at once, by one system call. What the kernel does not take waits, and
 * meanwhile nothing is read. A connection ends when the client has sent its FIN and everything
 * has been sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "Sending: "
#define PREFIX_SIZE (sizeof PREFIX - 1)
#define MOST 1024 /* KiB in one read */
#define BATCH 512

struct link {
    int fd;
    size_t waiting; /* bytes that the kernel has not taken */
    size_t offset;
    char *queue;
};

enum manner { SEND, WRITEV, DRAIN, EAGER, THREADS, UNKNOWN };
static const char *const manners[] = {"send", "writev", "drain", "eager", "threads"};

static int poller;
static enum manner manner = SEND;
static size_t read_size = 60 * 1024;
/* What is read begins in mid-page: where the kernel copies to an address a few bytes behind that
 * of the source, counted in a page, some processors take ten times as long. It stores a stream from
 * the start of a page on. */
#define PAGE 4096
static char memory[PAGE / 2 + MOST * 1024] __attribute__((aligned(PAGE)));
static char *const data = memory + PAGE / 2;
static char *const reply = memory + PAGE / 2 - PREFIX_SIZE;

static void drop(struct link *link)
{
    close(link->fd);
    free(link->queue);
    free(link);
}

static void watch(struct link *link, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};
    epoll_ctl(poller, EPOLL_CTL_MOD, link->fd, &event);
}

/* Keep what the kernel did not take of a reply; read no more until it has. */
static void keep(struct link *link, size_t size, size_t taken)
{
    char *whole = malloc(PREFIX_SIZE + size);
    memcpy(whole, reply, PREFIX_SIZE + size);
    link->queue = whole;
    link->offset = taken;
    link->waiting = PREFIX_SIZE + size - taken;
    watch(link, EPOLLOUT);
}

static ssize_t answer(int fd, size_t size)
{
    struct iovec parts[2] = {{PREFIX, PREFIX_SIZE}, {data, size}};
    return manner == WRITEV ? writev(fd, parts, 2) : send(fd, reply, PREFIX_SIZE + size, 0);
}

/* Read once and answer; 1: there may be more, 0: not now, -1: the connection has ended. */
static int receive(struct link *link)
{
    ssize_t size = recv(link->fd, data, read_size, 0);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0) {
        drop(link);
        return -1;
    }
    ssize_t taken = answer(link->fd, (size_t)size);
    if (taken == (ssize_t)PREFIX_SIZE + size)
        return manner >= DRAIN;
    if (taken < 0 && errno != EAGAIN) {
        drop(link);
        return -1;
    }
    keep(link, (size_t)size, taken < 0 ? 0 : (size_t)taken);
    return 0;
}

/* Read and answer as long as there is more; gives whether the connection goes on. */
static int receive_all(struct link *link)
{
    int more;
    while ((more = receive(link)) > 0)
        ;
    return more == 0;
}

static void flush(struct link *link)
{
    ssize_t taken = send(link->fd, link->queue + link->offset, link->waiting, 0);
    if (taken < 0 && errno == EAGAIN)
        return;
    if (taken < 0) {
        drop(link);
        return;
    }
    link->offset += (size_t)taken;
    link->waiting -= (size_t)taken;
    if (link->waiting == 0) {
        free(link->queue);
        link->queue = NULL;
        watch(link, EPOLLIN);
    }
}

static void welcome(int listener)
{
    for (;;) {
        int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct link *link = calloc(1, sizeof *link);
        link->fd = fd;
        if (manner == EAGER && !receive_all(link))
            continue;
        struct epoll_event event = {.events = link->waiting ? EPOLLOUT : EPOLLIN, .data.ptr = link};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

/* -- a thread for each connection ---------------------------------------------------- */

static void *talk(void *number)
{
    int fd = (int)(intptr_t)number, on = 1;
    char *whole = aligned_alloc(PAGE, PAGE + (read_size + PAGE - 1) / PAGE * PAGE);
    char *mine = whole + PAGE / 2 - PREFIX_SIZE;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    memcpy(mine, PREFIX, PREFIX_SIZE);
    for (;;) {
        ssize_t size = recv(fd, mine + PREFIX_SIZE, read_size, 0);
        if (size <= 0 || send(fd, mine, PREFIX_SIZE + (size_t)size, 0) < 0)
            break;
    }
    close(fd);
    free(whole);
    return NULL;
}

static void serve_by_threads(int listener)
{
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 65536);
    fcntl(listener, F_SETFL, 0);
    for (;;) {
        pthread_t thread;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && pthread_create(&thread, &detached, talk, (void *)(intptr_t)fd) != 0)
            close(fd);
    }
}

/* -- the command line -------------------------------------------------------------------- */

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return bind(fd, (struct sockaddr *)&address, sizeof address) ? -1 : fd;
}

static int listen_tcp(const char *address)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in local = {.sin_family = AF_INET};
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    local.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&local, sizeof local) ? -1 : fd;
}

static void serve(int listener)
{
    struct epoll_event events[BATCH], event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            struct link *link = events[i].data.ptr;
            if (!link)
                welcome(listener);
            else if (link->waiting)
                flush(link);
            else
                receive_all(link);
        }
    }
}

static int take_options(int count, char **arguments)
{
    if (count < 2 || count > 4 || (arguments[1][0] != '/' && !strchr(arguments[1], ':')))
        return 0;
    for (manner = SEND; count > 2 && manner < UNKNOWN; manner++)
        if (strcmp(arguments[2], manners[manner]) == 0)
            break;
    if (count > 3)
        read_size = strtoul(arguments[3], NULL, 10) * 1024;
    return manner < UNKNOWN && read_size > 0 && read_size <= MOST * 1024;
}

int main(int count, char **arguments)
{
    signal(SIGPIPE, SIG_IGN);
    if (!take_options(count, arguments)) {
        fprintf(stderr, "floor: usage: floor 127.0.0.1:PORT|/PATH [MANNER [KIB]]\n");
        return 2;
    }
    int listener = arguments[1][0] == '/' ? listen_unix(arguments[1]) : listen_tcp(arguments[1]);
    if (listener < 0 || listen(listener, 511) != 0) {
        perror("floor");
        return 1;
    }
    memcpy(reply, PREFIX, PREFIX_SIZE);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (manner == THREADS)
        serve_by_threads(listener);
    serve(listener);
}
