//! An agent in Zig: it keeps what it is told in a list that it allocates, and answers with what it knows.
const std = @import("std");

const igor = struct {
    extern "igor" fn clock_now() i64;
    extern "igor" fn rand_bytes(buffer: [*]u8, len: usize) i32;
    extern "igor" fn log_emit(text: [*]const u8, len: usize) void;
    extern "igor" fn message_next(buffer: [*]u8, len: usize) i32;
    extern "igor" fn message_reply(body: [*]const u8, len: usize) i32;
};

const none = -1;
const messages_per_tick = 8;
const memory = std.heap.wasm_allocator;

/// Everything that must survive. After a checkpoint the agent goes on in a new instance.
const State = struct {
    born: i64 = 0,
    ticks: u64 = 0,
    dice: u64 = 0,
    words: []const []const u8 = &.{},
};

var state: State = .{};
var message: [64 * 1024]u8 = undefined;
var written: []u8 = &.{};
var incoming: []u8 = &.{};

fn say(comptime text: []const u8, values: anytype) void {
    var line: [256]u8 = undefined;
    const out = std.fmt.bufPrint(&line, text, values) catch &line;
    igor.log_emit(out.ptr, out.len);
}

fn take(word: []const u8) ![]const u8 {
    const words = try memory.alloc([]const u8, state.words.len + 1);
    @memcpy(words[0..state.words.len], state.words);
    words[state.words.len] = try memory.dupe(u8, word);
    memory.free(state.words);
    state.words = words;
    _ = igor.rand_bytes(std.mem.asBytes(&state.dice), @sizeOf(u64));
    const age = @divTrunc(igor.clock_now() - state.born, std.time.ns_per_s);
    return std.fmt.bufPrint(&message, "number {d}, age {d} s, dice {d}", .{ words.len, age, state.dice % 6 + 1 });
}

fn tick() !i32 {
    if (state.ticks == 0) {
        state.born = igor.clock_now();
        std.debug.print("born at {d}\n", .{state.born}); // standard error is the agent's log
    }
    state.ticks += 1;
    for (0..messages_per_tick) |_| {
        const len = igor.message_next(&message, message.len);
        if (len == none) {
            say("tick {d}, {d} messages", .{ state.ticks, state.words.len });
            return 0;
        }
        if (len < 0) return error.MessageNext;
        const reply = try take(message[0..@intCast(len)]);
        if (igor.message_reply(reply.ptr, reply.len) != 0) return error.MessageReply;
    }
    return 1; // there may be more
}

/// A failed run is undone: better than to go on with half of it.
fn must(result: anytype) @typeInfo(@TypeOf(result)).error_union.payload {
    return result catch |why| @panic(@errorName(why));
}

export fn agent_init() void {}

export fn agent_tick() i32 {
    return must(tick());
}

export fn agent_checkpoint() usize {
    memory.free(written);
    written = must(std.json.Stringify.valueAlloc(memory, state, .{}));
    return written.len;
}

export fn agent_checkpoint_ptr() [*]const u8 {
    return written.ptr;
}

export fn agent_alloc(len: usize) [*]u8 {
    incoming = must(memory.alloc(u8, len));
    return incoming.ptr;
}

export fn agent_resume(_: [*]const u8, len: usize) void {
    // What is read refers to `incoming`, or to memory of its own; both stay.
    state = must(std.json.parseFromSliceLeaky(State, memory, incoming[0..len], .{}));
}
