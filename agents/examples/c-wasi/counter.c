/*
 * An agent in C with a libc: printf, malloc, time and getentropy, by WASI, beside the igor ABI.
 *
 * It keeps the last lines that it was told in a linked list, and answers each message with what it knows.
 */
#include "igor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_PER_TICK 8

struct note {
    struct note *next;
    time_t at;
    size_t len;
    char text[];
};

/* The live state. Pointers mean nothing in another instance: what is written is flat. */
static struct note *notes;
static uint64_t ticks, messages;
static char *written, *incoming;

_Noreturn static void fail(const char *why) {
    fprintf(stderr, "counter: %s\n", why);
    abort(); /* the run is undone */
}

static void *need(void *memory) { return memory ? memory : (fail("out of memory"), NULL); }

static void keep(time_t at, const char *text, size_t len) {
    struct note *note = need(malloc(sizeof *note + len));
    *note = (struct note){ .next = notes, .at = at, .len = len };
    memcpy(note->text, text, len);
    notes = note;
}

void agent_init(void) {}

int32_t agent_tick(void) {
    static char body[64 * 1024], reply[160];
    if (!ticks++) printf("born at %lld\n", (long long)time(NULL)); /* standard output is the agent's log */
    for (int n = 0; n < MESSAGES_PER_TICK; n++) {
        int32_t len = igor_message_next(body, sizeof body);
        if (len == IGOR_NONE) {
            printf("tick %llu, %llu messages\n", (unsigned long long)ticks, (unsigned long long)messages);
            return 0;
        }
        if (len < 0) fail("message_next failed");
        messages++;
        keep(time(NULL), body, (size_t)len);
        unsigned dice;
        if (getentropy(&dice, sizeof dice)) fail("no randomness");
        int bytes = snprintf(reply, sizeof reply, "%.*s: number %llu, dice %u", len > 64 ? 64 : len, body,
                             (unsigned long long)messages, dice % 6 + 1);
        if (igor_message_reply(reply, (size_t)bytes) != IGOR_OK) fail("message_reply failed");
        igor_log_emit(reply, (size_t)bytes);
    }
    return 1; /* there may be more */
}

/* --- the state as bytes: ticks, messages, then (time, length, text) of each note, the newest first --- */

static void put(char **to, const void *from, size_t len) { memcpy(*to, from, len), *to += len; }

int32_t agent_checkpoint(void) {
    size_t len = 2 * sizeof(uint64_t);
    for (struct note *note = notes; note; note = note->next) len += sizeof note->at + sizeof note->len + note->len;
    free(written);
    char *to = written = need(malloc(len));
    put(&to, &ticks, sizeof ticks), put(&to, &messages, sizeof messages);
    for (struct note *note = notes; note; note = note->next)
        put(&to, &note->at, sizeof note->at), put(&to, &note->len, sizeof note->len), put(&to, note->text, note->len);
    return (int32_t)len;
}

const void *agent_checkpoint_ptr(void) { return written; }
void *agent_alloc(size_t len) { return incoming = malloc(len); }

static void take(const char **from, size_t *left, void *to, size_t len) {
    if (*left < len) fail("this state is cut off");
    memcpy(to, *from, len), *from += len, *left -= len;
}

void agent_resume(const void *state, size_t len) {
    const char *from = state;
    take(&from, &len, &ticks, sizeof ticks), take(&from, &len, &messages, sizeof messages);
    struct note **end = &notes;
    while (len) {
        struct note head = { 0 };
        take(&from, &len, &head.at, sizeof head.at), take(&from, &len, &head.len, sizeof head.len);
        if (head.len > len) fail("this state is cut off");
        keep(head.at, from, head.len);
        struct note *note = notes;
        from += head.len, len -= head.len;
        notes = note->next, note->next = NULL, *end = note, end = &note->next;
    }
    free(incoming);
}
