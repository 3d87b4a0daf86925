/*
 * An agent in C against the bare ABI: no SDK, no libc, no allocator.
 *
 * It counts its ticks and chains a hash over all that it was told, and answers each message with both. If it ever
 * forgot or repeated a tick or a message, in whatever crash, the hash would say so.
 */
#include "igor.h"

/* What one tick takes: an inbox may hold more than a tick's limits allow. */
#define MESSAGES_PER_TICK_MAX 64
#define MESSAGE_BYTES_PER_TICK_MAX (512 * 1024)
#define STATE_VERSION 1
#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* The whole state, as it goes into a checkpoint. All fields are of 8 bytes, so that there is no padding. */
struct state {
    uint64_t version;
    int64_t born;
    uint64_t ticks;
    uint64_t messages;
    uint64_t hash;
};

static struct state state;
/* A checkpoint arrives here, not in the live state: it is believed only when it has been looked at. */
static struct state incoming;
static unsigned char message[64 * 1024];

/* --- text, of which there is too little to want a libc --- */

struct text {
    char bytes[160];
    size_t len;
};

static void put(struct text *text, const char *word) {
    while (*word && text->len < sizeof text->bytes) text->bytes[text->len++] = *word++;
}

static void put_number(struct text *text, uint64_t number, unsigned base) {
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = 0;
    do digits[--at] = "0123456789abcdef"[number % base]; while (number /= base);
    put(text, digits + at);
}

static void describe(struct text *text) {
    text->len = 0;
    put(text, "tick "), put_number(text, state.ticks, 10);
    put(text, ", message "), put_number(text, state.messages, 10);
    put(text, ", hash "), put_number(text, state.hash, 16);
}

_Noreturn static void fail(const char *why) {
    struct text text = { .len = 0 };
    put(&text, why);
    igor_log_emit(text.bytes, text.len);
    __builtin_trap(); /* the run is undone */
}

/* --- the agent --- */

/* FNV-1a: for seeing accidents, not for withstanding anybody. */
static void absorb(const void *data, size_t len) {
    for (const unsigned char *byte = data; len; len--) state.hash = (state.hash ^ *byte++) * FNV_PRIME;
}

void agent_init(void) {
    state = (struct state){ .version = STATE_VERSION, .born = igor_clock_now(), .hash = FNV_OFFSET };
}

int32_t agent_tick(void) {
    struct text text;
    state.ticks++;
    absorb(&state.ticks, sizeof state.ticks);

    size_t bytes = 0;
    for (int taken = 0; taken < MESSAGES_PER_TICK_MAX && bytes < MESSAGE_BYTES_PER_TICK_MAX; taken++) {
        int32_t len = igor_message_next(message, sizeof message);
        if (len == IGOR_NONE) {
            describe(&text);
            put(&text, ", age in s "), put_number(&text, (uint64_t)(igor_clock_now() - state.born) / 1000000000, 10);
            igor_log_emit(text.bytes, text.len);
            return 0;
        }
        if (len < 0) fail("survivor: message_next failed");
        state.messages++;
        bytes += (size_t)len;
        absorb(message, (size_t)len);
        describe(&text);
        if (igor_message_reply(text.bytes, text.len) != IGOR_OK) fail("survivor: message_reply failed");
    }
    return 1;
}

int32_t agent_checkpoint(void) { return sizeof state; }

const void *agent_checkpoint_ptr(void) { return &state; }

void *agent_alloc(size_t len) {
    if (len != sizeof incoming) fail("survivor: this checkpoint has another length than mine");
    return &incoming;
}

void agent_resume(const void *checkpoint, size_t len) {
    if (checkpoint != &incoming || len != sizeof incoming || incoming.version != STATE_VERSION)
        fail("survivor: this checkpoint is not mine");
    state = incoming;
}
