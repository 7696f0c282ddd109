/* OpenSSL, opened at run time: no headers of it are needed to compile this.
 *
 * Only these functions are used, all on opaque pointers; their signatures are those of
 * OpenSSL's manual for 1.1 and 3.
 */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#define TLS_WANT_READ 2   /* SSL_ERROR_WANT_READ */
#define TLS_WANT_WRITE 3  /* SSL_ERROR_WANT_WRITE */
#define TLS_MODE 33       /* SSL_CTRL_MODE */
#define TLS_PARTIAL 3     /* SSL_MODE_ENABLE_PARTIAL_WRITE | _ACCEPT_MOVING_WRITE_BUFFER */

static struct {
    void *context;
    const void *(*TLS_client_method)(void);
    void *(*SSL_CTX_new)(const void *);
    long (*SSL_CTX_ctrl)(void *, int, long, void *);
    void *(*SSL_new)(void *);
    int (*SSL_set_fd)(void *, int);
    int (*SSL_connect)(void *);
    int (*SSL_read)(void *, void *, int);
    int (*SSL_write)(void *, const void *, int);
    int (*SSL_pending)(const void *);
    int (*SSL_shutdown)(void *);
    int (*SSL_get_error)(const void *, int);
    void (*SSL_free)(void *);
    void (*ERR_clear_error)(void);
} tls;

/* Gives what is missing, or NULL. */
static const char *tls_open(void)
{
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library)
        library = dlopen("libssl.so.1.1", RTLD_NOW);
    if (!library)
        return "libssl";
#define FIND(name) \
    if (!(*(void **)&tls.name = dlsym(library, #name))) \
        return #name;
    FIND(TLS_client_method)
    FIND(SSL_CTX_new)
    FIND(SSL_CTX_ctrl)
    FIND(SSL_new)
    FIND(SSL_set_fd)
    FIND(SSL_connect)
    FIND(SSL_read)
    FIND(SSL_write)
    FIND(SSL_pending)
    FIND(SSL_shutdown)
    FIND(SSL_get_error)
    FIND(SSL_free)
    FIND(ERR_clear_error)
#undef FIND
    tls.context = tls.SSL_CTX_new(tls.TLS_client_method());
    if (!tls.context)
        return "a TLS context";
    tls.SSL_CTX_ctrl(tls.context, TLS_MODE, TLS_PARTIAL, NULL);
    return NULL;
}

/* An answer of OpenSSL as one of recv and send: bytes, 0 for the end, or -1 and errno. */
static ssize_t tls_answer(void *session, int answer)
{
    if (answer > 0)
        return answer;
    int error = tls.SSL_get_error(session, answer);
    tls.ERR_clear_error();
    if (error == TLS_WANT_READ || error == TLS_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    return 0;
}

#endif
