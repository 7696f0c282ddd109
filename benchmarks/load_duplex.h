/* One stream with blocking calls: one thread sends while another one receives and compares. */
#ifndef LOAD_DUPLEX_H
#define LOAD_DUPLEX_H

#define RECEIVE 1048576 /* bytes at most in one read */

/* Open it; gives whether that worked. Every call then waits, but not beyond the limit. */
static int duplex_open(struct link *link)
{
    struct timeval limit = {.tv_sec = (time_t)options.limit + 1};
    int family = target.any.sa_family;
    size_t size = family == AF_UNIX ? sizeof target.path : sizeof target.tcp;
    link->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(link->fd, &target.any, (socklen_t)size) == 0)
        return 1;
    fail(link, strerror(errno));
    return 0;
}

/* The thread that sends. It only reads what the other one does not change. */
static void *duplex_send(void *argument)
{
    struct link *link = argument;
    for (uint64_t sent = 0; sent < options.size;) {
        uint64_t left = options.size - sent;
        ssize_t gone = send(link->fd, payload(&link->check, sent),
                            left < PIECE ? (size_t)left : PIECE, MSG_NOSIGNAL);
        if (gone <= 0) /* the other thread finds that not all comes back */
            break;
        sent += (uint64_t)gone;
    }
    if (!options.late)
        shutdown(link->fd, SHUT_WR);
    return NULL;
}

static void duplex_receive(struct link *link)
{
    unsigned char *data = malloc(RECEIVE);
    const char *wrong = NULL;
    ssize_t size = 1;
    while (!wrong && (size = recv(link->fd, data, RECEIVE, 0)) > 0) {
        wrong = check_take(&link->check, data, (size_t)size);
        if (options.late && check_complete(&link->check))
            shutdown(link->fd, SHUT_WR);
    }
    if (wrong)
        fail(link, wrong);
    else if (size < 0)
        fail(link, errno == EAGAIN ? "not all came back in time" : strerror(errno));
    else if (!check_complete(&link->check))
        fail(link, "the stream ended too early");
    free(data);
}

static void duplex_run(struct link *link)
{
    pthread_t sender;
    check_begin(&link->check, 0, 0, options.size);
    link->began = now_ns();
    pthread_create(&sender, NULL, duplex_send, link);
    duplex_receive(link);
    if (now.failures)
        shutdown(link->fd, SHUT_RDWR); /* the sender may wait */
    pthread_join(sender, NULL);
    close(link->fd);
    histogram_add(now_ns() - link->began);
    now.messages += !now.failures;
}

#endif
