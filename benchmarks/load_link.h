/* One connection of the load generator, from connect to the peer's FIN. */
#ifndef LOAD_LINK_H
#define LOAD_LINK_H

static union {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un path;
} target;

static void link_open(struct link *link);
static void link_close(struct link *link);
static void link_send(struct link *link);

/* Note the first fault in words. Any fault ends the run. */
static void fail(const struct link *link, const char *what)
{
    if (now.failures++)
        return;
    if (link)
        snprintf(now.fault, sizeof now.fault, "connection %llu, message %llu, byte %llu: %s",
                 (unsigned long long)link->number, (unsigned long long)link->message,
                 (unsigned long long)link->check.at, what);
    else
        snprintf(now.fault, sizeof now.fault, "%s", what);
}

static int take_address(const char *address)
{
    char host[32];
    const char *colon = strrchr(address, ':');
    if (*address == '/') {
        target.path.sun_family = AF_UNIX;
        strncpy(target.path.sun_path, address, sizeof target.path.sun_path - 1);
        return strlen(address) < sizeof target.path.sun_path;
    }
    if (!colon || colon - address >= (ptrdiff_t)sizeof host)
        return 0;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = 0;
    target.tcp.sin_family = AF_INET;
    target.tcp.sin_port = htons((uint16_t)atoi(colon + 1));
    return inet_pton(AF_INET, host, &target.tcp.sin_addr) == 1;
}

/* -- the socket ---------------------------------------------------------------------- */

static int connect_unix(void)
{
    /* Blocking: where the backlog is full, it waits; otherwise it would fail. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &target.any, sizeof target.path) != 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int connect_tcp(uint64_t number)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % SOURCES));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0 ||
        (connect(fd, &target.any, sizeof target.tcp) != 0 && errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Ask for EPOLLOUT, or no longer. */
static void watch(struct link *link, int writable)
{
    struct epoll_event event = {.data.ptr = link};
    if (link->writable == writable)
        return;
    link->writable = writable;
    event.events = writable ? EPOLLIN | EPOLLOUT : EPOLLIN;
    epoll_ctl(poller, EPOLL_CTL_MOD, link->fd, &event);
}

static void link_open(struct link *link)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    link->number = now.made++;
    link->message = 0;
    link->ended = 0;
    link->began = now_ns();
    link->state = CONNECTING;
    link->writable = 1;
    link->fd = target.any.sa_family == AF_UNIX ? connect_unix() : connect_tcp(link->number);
    if (link->fd < 0) {
        fail(link, strerror(errno));
        return;
    }
    now.opening++;
    now.open++;
    epoll_ctl(poller, EPOLL_CTL_ADD, link->fd, &event);
}

static void link_close(struct link *link)
{
    if (link->session)
        tls.SSL_free(link->session);
    link->session = NULL;
    close(link->fd);
    link->state = CLOSED;
    now.open--;
    if (options.connect && !now.stopping)
        link_open(link);
}

static ssize_t give(struct link *link, const void *data, size_t size)
{
    if (link->session)
        return tls_answer(link->session, tls.SSL_write(link->session, data, (int)size));
    return send(link->fd, data, size, MSG_NOSIGNAL);
}

static ssize_t take(struct link *link)
{
    if (link->session)
        return tls_answer(link->session, tls.SSL_read(link->session, buffer, READ));
    return recv(link->fd, buffer, READ, 0);
}

/* -- the conversation -------------------------------------------------------------- */

static void link_end(struct link *link)
{
    if (link->ended++)
        return;
    if (link->session) {
        tls.SSL_shutdown(link->session);
        tls.ERR_clear_error();
    }
    shutdown(link->fd, SHUT_WR);
}

static void link_finish(struct link *link)
{
    link->state = ENDING;
    link_end(link);
}

static void link_send(struct link *link)
{
    while (link->sent < link->check.size) {
        uint64_t left = link->check.size - link->sent;
        size_t size = left < PIECE ? (size_t)left : PIECE;
        ssize_t gone = give(link, payload(&link->check, link->sent), size);
        if (gone < 0 && errno != EAGAIN) {
            fail(link, strerror(errno));
            return;
        }
        if (gone <= 0) {
            watch(link, 1);
            return;
        }
        link->sent += (uint64_t)gone;
        if (options.bulk && (size_t)gone < size) {
            watch(link, 1);
            return;
        }
    }
    watch(link, 0);
    if (options.bulk && !options.late)
        link_end(link);
}

static void link_begin(struct link *link)
{
    check_begin(&link->check, link->number, link->message, options.size);
    link->sent = 0;
    if (link->message || !options.connect)
        link->began = now_ns();
    link->state = TALKING;
    link_send(link);
}

static void link_answered(struct link *link)
{
    now.messages++;
    if (now.measuring)
        histogram_add(now_ns() - link->began);
    if (link->message++ == 0)
        now.opening--;
    if (link->idle) {
        link->state = HELD;
        now.held++;
    } else if (options.ping && !now.stopping) {
        link_begin(link);
    } else {
        link_finish(link);
    }
}

static void link_ended(struct link *link)
{
    if (link->state != ENDING)
        fail(link, "the stream ended too early");
    link_close(link);
}

static void link_read(struct link *link)
{
    do {
        ssize_t size = take(link);
        if (size == 0) {
            link_ended(link);
            return;
        }
        if (size < 0) {
            if (errno != EAGAIN)
                fail(link, strerror(errno));
            return;
        }
        const char *wrong = check_take(&link->check, buffer, (size_t)size);
        if (wrong) {
            fail(link, wrong);
            return;
        }
        if (link->state == TALKING && check_complete(&link->check))
            link_answered(link);
    } while (link->session && tls.SSL_pending(link->session) > 0);
}

/* -- events ------------------------------------------------------------------------- */

static void link_shake(struct link *link)
{
    int answer = tls.SSL_connect(link->session);
    if (answer == 1)
        link_begin(link);
    else if (tls_answer(link->session, answer) == 0)
        fail(link, "the TLS handshake failed");
    else
        watch(link, 0);
}

static void link_connected(struct link *link)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail(link, strerror(error));
        return;
    }
    if (!options.tls) {
        link_begin(link);
        return;
    }
    link->session = tls.SSL_new(tls.context);
    tls.SSL_set_fd(link->session, link->fd);
    link->state = HANDSHAKE;
    link_shake(link);
}

static void link_event(struct link *link, uint32_t events)
{
    if (link->state == CONNECTING) {
        link_connected(link);
        return;
    }
    if (link->state == HANDSHAKE) {
        link_shake(link);
        return;
    }
    if (link->state != CLOSED && events & EPOLLOUT)
        link_send(link);
    if (link->state != CLOSED && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        link_read(link);
}

#endif
