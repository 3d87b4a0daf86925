//! The subset of `wasi_snapshot_preview1` that C, Zig, Go and QuickJS need to be agents, on the membrane.
//!
//! There are no files, sockets, arguments or environment. Results are WASI's error numbers; a pointer outside memory
//! traps, as everywhere.

use super::{Call, Ctx, Halt, Result, igor, unsigned};
use crate::abi::WASI;
use igor_protocol::Nanos;
use igor_spine::guest::Ask;
use std::sync::Arc;
use wasmtime::{Caller, Linker};

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const INVAL: i32 = 28;
const NOSYS: i32 = 52;
const NOTSUP: i32 = 58;
const SPIPE: i32 = 70;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;

/// Most buffers that one `fd_write` takes. It may write less than it was given, and callers go on with the rest.
const IOVECS_MAX: usize = 64;
/// Most subscriptions of one `poll_oneoff`.
const SUBSCRIPTIONS_MAX: u64 = 64;

pub(super) fn define(linker: &mut Linker<Ctx>) -> Result<()> {
    linker
        .func_wrap(WASI, "clock_time_get", clock_time_get)?
        .func_wrap(WASI, "clock_res_get", clock_res_get)?
        .func_wrap_async(WASI, "poll_oneoff", |caller, (subscriptions, events, count, done)| {
            Box::new(poll_oneoff(caller, subscriptions, events, count, done))
        })?
        .func_wrap(WASI, "random_get", random_get)?
        .func_wrap(WASI, "fd_write", fd_write)?
        .func_wrap(WASI, "sched_yield", || SUCCESS)?
        .func_wrap(WASI, "proc_exit", |code: i32| -> Result<()> { Err(Halt::Exit(code).into()) })?
        .func_wrap(WASI, "args_sizes_get", |caller: Caller<'_, Ctx>, n: i32, bytes: i32| {
            none(caller, "args_sizes_get", n, bytes)
        })?
        .func_wrap(WASI, "args_get", |_: i32, _: i32| SUCCESS)?
        .func_wrap(WASI, "environ_sizes_get", |caller: Caller<'_, Ctx>, n: i32, bytes: i32| {
            none(caller, "environ_sizes_get", n, bytes)
        })?
        .func_wrap(WASI, "environ_get", |_: i32, _: i32| SUCCESS)?
        .func_wrap(WASI, "fd_read", fd_read)?
        .func_wrap(WASI, "fd_close", |fd: i32| standard(fd, SUCCESS))?
        .func_wrap(WASI, "fd_seek", |fd: i32, _: i64, _: i32, _: i32| standard(fd, SPIPE))?
        .func_wrap(WASI, "fd_fdstat_get", fd_fdstat_get)?
        .func_wrap(WASI, "fd_fdstat_set_flags", |fd: i32, _: i32| standard(fd, SUCCESS))?
        .func_wrap(WASI, "fd_prestat_get", |_: i32, _: i32| BADF)?
        .func_wrap(WASI, "fd_prestat_dir_name", |_: i32, _: i32, _: i32| BADF)?;
    define_absent(linker)
}

/// What exists for the sake of libraries that import it, and always fails.
fn define_absent(linker: &mut Linker<Ctx>) -> Result<()> {
    linker
        .func_wrap(WASI, "fd_advise", |_: i32, _: i64, _: i64, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_allocate", |_: i32, _: i64, _: i64| NOSYS)?
        .func_wrap(WASI, "fd_datasync", |_: i32| NOSYS)?
        .func_wrap(WASI, "fd_fdstat_set_rights", |_: i32, _: i64, _: i64| NOSYS)?
        .func_wrap(WASI, "fd_filestat_get", |_: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_filestat_set_size", |_: i32, _: i64| NOSYS)?
        .func_wrap(WASI, "fd_filestat_set_times", |_: i32, _: i64, _: i64, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_pread", |_: i32, _: i32, _: i32, _: i64, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_pwrite", |_: i32, _: i32, _: i32, _: i64, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_readdir", |_: i32, _: i32, _: i32, _: i64, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_renumber", |_: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "fd_sync", |_: i32| NOSYS)?
        .func_wrap(WASI, "fd_tell", |_: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_create_directory", |_: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_filestat_get", |_: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_filestat_set_times", |_: i32, _: i32, _: i32, _: i32, _: i64, _: i64, _: i32| NOSYS)?
        .func_wrap(WASI, "path_link", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_open", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i64, _: i64, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_readlink", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_remove_directory", |_: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_rename", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_symlink", |_: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "path_unlink_file", |_: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "sock_accept", |_: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "sock_recv", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "sock_send", |_: i32, _: i32, _: i32, _: i32, _: i32| NOSYS)?
        .func_wrap(WASI, "sock_shutdown", |_: i32, _: i32| NOSYS)?;
    Ok(())
}

/// `answer` for standard input, output and error; nothing else is open.
const fn standard(fd: i32, answer: i32) -> i32 {
    if matches!(fd, 0..=2) { answer } else { BADF }
}

fn clock_time_get(mut caller: Caller<'_, Ctx>, clock: i32, _precision: i64, time: i32) -> Result<i32> {
    let mut call = Call::new(&mut caller, "clock_time_get")?;
    let time = call.buffer(time, 8_u32)?;
    if !is_clock(unsigned(clock)) {
        return Ok(INVAL);
    }
    let now = call.ctx.number(&Ask::Clock)?;
    call.write(&time, &now.to_le_bytes());
    Ok(SUCCESS)
}

fn clock_res_get(mut caller: Caller<'_, Ctx>, clock: i32, resolution: i32) -> Result<i32> {
    let mut call = Call::new(&mut caller, "clock_res_get")?;
    let resolution = call.buffer(resolution, 8_u32)?;
    if !is_clock(unsigned(clock)) {
        return Ok(INVAL);
    }
    // A constant, and so no observation.
    call.write(&resolution, &1_u64.to_le_bytes());
    Ok(SUCCESS)
}

/// Both clocks are the observed one, which never goes back.
const fn is_clock(id: u32) -> bool {
    matches!(id, CLOCK_REALTIME | CLOCK_MONOTONIC)
}

fn random_get(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<i32> {
    igor::fill_random(&mut Call::new(&mut caller, "random_get")?, ptr, len).map(|()| SUCCESS)
}

/// No entries, of no bytes.
fn none(mut caller: Caller<'_, Ctx>, name: &'static str, count: i32, bytes: i32) -> Result<i32> {
    let mut call = Call::new(&mut caller, name)?;
    for size in [call.buffer(count, 4_u32)?, call.buffer(bytes, 4_u32)?] {
        call.write(&size, &[0; 4]);
    }
    Ok(SUCCESS)
}

fn fd_write(mut caller: Caller<'_, Ctx>, fd: i32, iovecs: i32, count: i32, written: i32) -> Result<i32> {
    let mut call = Call::new(&mut caller, "fd_write")?;
    let iovecs = call.buffer(iovecs, u64::from(unsigned(count)) * 8)?;
    let written = call.buffer(written, 4_u32)?;
    let stream = match fd {
        1 => 0,
        2 => 1,
        _ => return Ok(BADF),
    };
    let mut room = igor::LOG_CALL_BYTES_MAX;
    let mut pieces = Vec::new();
    for iovec in call.read(&iovecs).chunks_exact(8).take(IOVECS_MAX) {
        // All of each buffer must be inside memory, also what there is no room for.
        let piece = call.buffer(word(iovec, 0).cast_signed(), word(iovec, 4))?.first(room);
        room -= piece.len();
        pieces.push(piece);
    }
    let mut lines = std::mem::take(&mut call.ctx.lines[stream]);
    for piece in &pieces {
        lines.feed(call.read(piece), |line| call.ctx.log(line))?;
    }
    call.ctx.lines[stream] = lines;
    let total = u32::try_from(igor::LOG_CALL_BYTES_MAX - room)?;
    call.write(&written, &total.to_le_bytes());
    Ok(SUCCESS)
}

fn fd_read(mut caller: Caller<'_, Ctx>, fd: i32, _iovecs: i32, _count: i32, read: i32) -> Result<i32> {
    let mut call = Call::new(&mut caller, "fd_read")?;
    let read = call.buffer(read, 4_u32)?;
    if fd != 0 {
        return Ok(BADF);
    }
    call.write(&read, &[0; 4]);
    Ok(SUCCESS)
}

/// A character device without rights: what a terminal-less standard stream looks like.
fn fd_fdstat_get(mut caller: Caller<'_, Ctx>, fd: i32, stat: i32) -> Result<i32> {
    const CHARACTER_DEVICE: u8 = 2;
    let mut call = Call::new(&mut caller, "fd_fdstat_get")?;
    let stat = call.buffer(stat, 24_u32)?;
    if standard(fd, SUCCESS) != SUCCESS {
        return Ok(BADF);
    }
    let mut bytes = [0; 24];
    bytes[0] = CHARACTER_DEVICE;
    call.write(&stat, &bytes);
    Ok(SUCCESS)
}

/// What one subscription comes to.
struct Event {
    userdata: [u8; 8],
    kind: u8,
    /// Nanoseconds until it happens, or the error that it is.
    due: std::result::Result<u64, i32>,
}

async fn poll_oneoff(
    mut caller: Caller<'_, Ctx>,
    subscriptions: i32,
    events: i32,
    count: i32,
    done: i32,
) -> Result<i32> {
    let mut call = Call::new(&mut caller, "poll_oneoff")?;
    let count = u64::from(unsigned(count));
    let subscriptions = call.buffer(subscriptions, count * 48)?;
    let events = call.buffer(events, count * 32)?;
    let done = call.buffer(done, 4_u32)?;
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Ok(INVAL);
    }
    let subscribed = subscribed(&call, &subscriptions)?;
    // Errors are events that happen at once.
    let soonest = subscribed.iter().map(|event| event.due.unwrap_or(0)).min().unwrap_or(0);
    if soonest > 0 {
        let membrane = Arc::clone(call.ctx.membrane()?);
        membrane.wait(Nanos(soonest)).await.map_err(Halt::Stopped)?;
        call = Call::new(&mut caller, "poll_oneoff")?;
    }
    let mut bytes = Vec::with_capacity(events.len());
    for event in subscribed {
        let error = match event.due {
            Ok(due) if due > soonest => continue,
            Ok(_) => SUCCESS,
            Err(error) => error,
        };
        bytes.extend_from_slice(&event.userdata);
        bytes.extend_from_slice(&error.to_le_bytes()[..2]);
        bytes.push(event.kind);
        bytes.extend_from_slice(&[0; 21]);
    }
    let happened = u32::try_from(bytes.len() / 32)?;
    call.write(&events, &bytes);
    call.write(&done, &happened.to_le_bytes());
    Ok(SUCCESS)
}

fn subscribed(call: &Call<'_>, subscriptions: &super::Buffer) -> Result<Vec<Event>> {
    const CLOCK: u8 = 0;
    const ABSOLUTE: u8 = 1;
    let mut now = None;
    let mut all = Vec::with_capacity(subscriptions.len() / 48);
    for bytes in call.read(subscriptions).chunks_exact(48) {
        let mut userdata = [0; 8];
        userdata.copy_from_slice(&bytes[..8]);
        let kind = bytes[8];
        let timeout = u64::from(word(bytes, 24)) | u64::from(word(bytes, 28)) << 32;
        let due = if kind != CLOCK {
            Err(NOTSUP)
        } else if !is_clock(word(bytes, 16)) {
            Err(INVAL)
        } else if bytes[40] & ABSOLUTE == 0 {
            Ok(timeout)
        } else {
            // Read once for all, and only where it is needed: each reading is an observation.
            let now = match now {
                Some(now) => now,
                None => *now.insert(call.ctx.number(&Ask::Clock)?),
            };
            Ok(timeout.saturating_sub(u64::try_from(now).unwrap_or(0)))
        };
        all.push(Event { userdata, kind, due });
    }
    Ok(all)
}

/// The little-endian number at `at` of a record whose length is known.
fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
