/* The Igor ABI, version 1, for agents in C. docs/abi.md says what each function promises. */
#ifndef IGOR_H
#define IGOR_H

#include <stddef.h>
#include <stdint.h>

#define IGOR_IMPORT(name) __attribute__((import_module("igor"), import_name(#name)))
#define IGOR_EXPORT(name) __attribute__((export_name(#name)))

/* Results of the functions that can refuse. */
enum {
    IGOR_OK = 0,
    IGOR_NONE = -1,      /* no such message or receipt; nothing taken to reply to */
    IGOR_REPLIED = -2,   /* the message has its reply already */
    IGOR_TOO_LARGE = -3, /* the reply is over the limit */
    IGOR_NO_TICK = -4,   /* only possible in agent_tick */
    IGOR_TOO_SMALL = -5, /* the buffer; it begins with the needed length, as a little-endian u32 */
    IGOR_NOT_A_NODE = -6, /* no name of a node */
};

/* What igor_trigger answers. */
enum {
    IGOR_TRIGGER_NONE = 0,
    IGOR_TRIGGER_INTERVAL = 1,
    IGOR_TRIGGER_MESSAGE = 2,
    IGOR_TRIGGER_WAKE = 3,
    IGOR_TRIGGER_MORE_WORK = 4,
    IGOR_TRIGGER_RESUMED = 5,
    IGOR_TRIGGER_EFFECT_RESULT = 6,
};

IGOR_IMPORT(clock_now) int64_t igor_clock_now(void);
IGOR_IMPORT(rand_bytes) int32_t igor_rand_bytes(void *buffer, size_t len);
IGOR_IMPORT(log_emit) void igor_log_emit(const void *text, size_t len);
IGOR_IMPORT(wallet_balance) int64_t igor_wallet_balance(void);
IGOR_IMPORT(wallet_receipt_count) int32_t igor_wallet_receipt_count(void);
IGOR_IMPORT(wallet_receipt) int32_t igor_wallet_receipt(int32_t index, void *buffer, size_t len);
IGOR_IMPORT(node_price) int64_t igor_node_price(void);
IGOR_IMPORT(node_draining) int32_t igor_node_draining(void);
IGOR_IMPORT(node_list) int32_t igor_node_list(void *buffer, size_t len); /* lines: node, price a second, a 10^9 fuel */
IGOR_IMPORT(migrate_to) int32_t igor_migrate_to(const void *node, size_t len); /* len 0: anywhere */
IGOR_IMPORT(trigger) int32_t igor_trigger(void);
IGOR_IMPORT(message_next) int32_t igor_message_next(void *buffer, size_t len);
IGOR_IMPORT(message_reply) int32_t igor_message_reply(const void *body, size_t len);
IGOR_IMPORT(resumed_gap) int64_t igor_resumed_gap(void);
IGOR_IMPORT(wake_at) void igor_wake_at(int64_t unix_nanos);
IGOR_IMPORT(finish) void igor_finish(void);

/* An agent defines these. Those for checkpoints are optional, but belong together. */
IGOR_EXPORT(agent_init) void agent_init(void);
IGOR_EXPORT(agent_tick) int32_t agent_tick(void); /* nonzero: there is more work */
IGOR_EXPORT(agent_checkpoint) int32_t agent_checkpoint(void); /* the length of the state */
IGOR_EXPORT(agent_checkpoint_ptr) const void *agent_checkpoint_ptr(void);
IGOR_EXPORT(agent_alloc) void *agent_alloc(size_t len); /* room for a state */
IGOR_EXPORT(agent_resume) void agent_resume(const void *state, size_t len);

#endif
