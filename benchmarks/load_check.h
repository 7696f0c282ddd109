/* What is sent, and whether what comes back is just that.
 *
 * The payload is a window of one fixed pattern; where it begins varies with the
 * connection and the message. The pattern never holds the prefix's first byte, so that
 * byte always begins a prefix: a reply may come in several pieces, each with its own.
 */
#ifndef LOAD_CHECK_H
#define LOAD_CHECK_H

#include <stdint.h>
#include <string.h>

#define PREFIX "Sending: "
#define PREFIX_SIZE (sizeof PREFIX - 1)
#define PERIOD 65521 /* bytes until the pattern repeats; a prime, so windows differ */
#define PIECE 65536  /* bytes of payload at most in one write */

static unsigned char pattern[PERIOD + PIECE];
static int prefix_varies; /* it begins like PREFIX and ends with ": "; the rest is not known */

struct check {
    uint64_t start;  /* where in the pattern this message begins */
    uint64_t size;   /* bytes of payload that are to come back */
    uint64_t at;     /* bytes of payload that have */
    size_t matched;  /* bytes of the current prefix that have */
    int empty;       /* a prefix, and no payload since */
};

static void make_pattern(void)
{
    uint64_t state = 88172645463325252u; /* xorshift64, always the same bytes */
    for (size_t i = 0; i < PERIOD; i++) {
        do {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pattern[i] = (unsigned char)(state >> 32);
        } while (pattern[i] == PREFIX[0]);
    }
    for (size_t i = PERIOD; i < PERIOD + PIECE; i++)
        pattern[i] = pattern[i - PERIOD];
}

static const unsigned char *payload(const struct check *check, uint64_t at)
{
    return pattern + (check->start + at) % PERIOD;
}

static void check_begin(struct check *check, uint64_t connection, uint64_t message, uint64_t size)
{
    check->start = (connection * 7919 + message * 104729) % PERIOD;
    check->size = size;
    check->at = 0;
    check->matched = 0;
    check->empty = 0;
}

static int check_complete(const struct check *check)
{
    return check->at == check->size;
}

/* How much of a prefix has come after one byte more; 0 if that is wrong. */
static size_t check_prefix(size_t matched, unsigned char byte)
{
    enum { BEGUN = 1, COLON = 2 }; /* of one that varies; both less than all */
    if (!prefix_varies || matched == 0)
        return byte == (unsigned char)PREFIX[matched] ? matched + 1 : 0;
    if (byte == ' ' && matched == COLON)
        return PREFIX_SIZE;
    return byte == ':' ? COLON : BEGUN;
}

/* Payload at the front of the data, up to the next prefix; 0 if it is wrong. */
static size_t check_run(struct check *check, const unsigned char *data, size_t size)
{
    uint64_t left = check->size - check->at;
    size_t run = size < PIECE ? size : PIECE;
    if (run > left)
        run = left;
    const unsigned char *next = memchr(data, PREFIX[0], run);
    if (next)
        run = next - data;
    if (memcmp(data, payload(check, check->at), run) != 0)
        return 0;
    check->at += run;
    check->empty = 0;
    return run;
}

/* What has come, in order; gives what is wrong with it, or NULL. */
static const char *check_take(struct check *check, const unsigned char *data, size_t size)
{
    while (size) {
        size_t run = 1;
        if (check_complete(check))
            return "more came back than was sent";
        if (check->matched < PREFIX_SIZE) {
            if ((check->matched = check_prefix(check->matched, *data)) == 0)
                return "a wrong byte in a prefix";
            check->empty = check->matched == PREFIX_SIZE;
        } else if (*data == PREFIX[0] && !check->empty) {
            check->matched = 1;
        } else if ((run = check_run(check, data, size)) == 0) {
            return "a wrong byte";
        }
        data += run;
        size -= run;
    }
    return NULL;
}

#endif
