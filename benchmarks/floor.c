/* The floor: the least that an echo with a prefix costs on this kernel.
 *
 *   floor ADDRESS        127.0.0.1:PORT or the path of a UNIX socket
 *
 * One thread, epoll; every read is answered at once, by one system call, with the prefix
 * and the data. What the kernel does not take waits, and meanwhile nothing is read. It
 * ends a connection when the client has sent its FIN and everything has been sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
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
#define READ 65536
#define BATCH 512

struct link {
    int fd;
    size_t waiting; /* bytes that the kernel has not taken */
    size_t offset;
    char *queue;
};

static int poller;
static char data[READ];

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
    memcpy(whole, PREFIX, PREFIX_SIZE);
    memcpy(whole + PREFIX_SIZE, data, size);
    link->queue = whole;
    link->offset = taken;
    link->waiting = PREFIX_SIZE + size - taken;
    watch(link, EPOLLOUT);
}

static void receive(struct link *link)
{
    ssize_t size = recv(link->fd, data, READ, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        drop(link);
        return;
    }
    struct iovec parts[2] = {{PREFIX, PREFIX_SIZE}, {data, (size_t)size}};
    ssize_t taken = writev(link->fd, parts, 2);
    if (taken < 0 && errno != EAGAIN)
        drop(link);
    else if (taken < (ssize_t)PREFIX_SIZE + size)
        keep(link, (size_t)size, taken < 0 ? 0 : (size_t)taken);
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
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
        link->fd = fd;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

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
                receive(link);
        }
    }
}

int main(int count, char **arguments)
{
    signal(SIGPIPE, SIG_IGN);
    if (count != 2 || (arguments[1][0] != '/' && !strchr(arguments[1], ':'))) {
        fprintf(stderr, "floor: usage: floor 127.0.0.1:PORT|/PATH\n");
        return 2;
    }
    int listener = arguments[1][0] == '/' ? listen_unix(arguments[1]) : listen_tcp(arguments[1]);
    if (listener < 0 || listen(listener, 511) != 0) {
        perror("floor");
        return 1;
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    serve(listener);
}
