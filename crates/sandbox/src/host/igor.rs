//! The functions of module `igor`; `docs/abi.md` is their contract.

use super::{
    Buffer, Call, Ctx, Halt, Result,
    lines::{CUT, Lines},
    unfit, unsigned,
};
use crate::abi::IGOR;
use igor_protocol::entry::Destination;
use igor_spine::guest::{Answer, Ask, Held, Hold};
use wasmtime::{Caller, Linker};

/// None, and nothing to reply to.
const NONE: i32 = -1;
const ALREADY_REPLIED: i32 = -2;
const TOO_LARGE: i32 = -3;
const OUTSIDE_TICK: i32 = -4;
const BUFFER_TOO_SMALL: i32 = -5;
const NOT_A_NODE: i32 = -6;

/// Longer than the name of any node.
const KEY_BYTES_MAX: usize = 128;

/// Most bytes of text that one call logs; a loop of calls must not scan all of memory each time.
pub(super) const LOG_CALL_BYTES_MAX: usize = 16 << 10;

pub(super) fn define(linker: &mut Linker<Ctx>) -> Result<()> {
    linker
        .func_wrap(IGOR, "clock_now", |caller: Caller<'_, Ctx>| caller.data().number(&Ask::Clock))?
        .func_wrap(IGOR, "wallet_balance", |caller: Caller<'_, Ctx>| caller.data().number(&Ask::Balance))?
        .func_wrap(IGOR, "node_price", |caller: Caller<'_, Ctx>| caller.data().number(&Ask::Price))?
        .func_wrap(IGOR, "wallet_receipt_count", |caller: Caller<'_, Ctx>| {
            small_number(caller.data(), &Ask::ReceiptCount)
        })?
        .func_wrap(IGOR, "wallet_receipt", wallet_receipt)?
        .func_wrap(IGOR, "node_draining", |caller: Caller<'_, Ctx>| small_number(caller.data(), &Ask::Draining))?
        .func_wrap(IGOR, "node_list", node_list)?
        .func_wrap(IGOR, "migrate_to", migrate_to)?
        .func_wrap(IGOR, "rand_bytes", rand_bytes)?
        .func_wrap(IGOR, "log_emit", log_emit)?
        .func_wrap(IGOR, "trigger", |caller: Caller<'_, Ctx>| caller.data().trigger)?
        .func_wrap(IGOR, "resumed_gap", |caller: Caller<'_, Ctx>| resumed_gap(caller.data()))?
        .func_wrap(IGOR, "message_next", message_next)?
        .func_wrap(IGOR, "message_reply", message_reply)?
        .func_wrap(IGOR, "wake_at", |caller: Caller<'_, Ctx>, time: i64| {
            request(caller.data(), "wake_at", Held::WakeAt(time))
        })?
        .func_wrap(IGOR, "finish", |caller: Caller<'_, Ctx>| request(caller.data(), "finish", Held::Finish))?;
    Ok(())
}

/// A number that is small by its nature, as an i32.
fn small_number(ctx: &Ctx, ask: &Ask) -> Result<i32> {
    let number = ctx.number(ask)?;
    Ok(i32::try_from(number).unwrap_or(i32::MAX))
}

fn wallet_receipt(mut caller: Caller<'_, Ctx>, index: i32, ptr: i32, len: i32) -> Result<i32> {
    item(&mut Call::new(&mut caller, "wallet_receipt")?, &Ask::Receipt(unsigned(index)), ptr, len)
}

fn node_list(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<i32> {
    item(&mut Call::new(&mut caller, "node_list")?, &Ask::Nodes, ptr, len)
}

/// Writes an item of bytes that may be there, and gives its length.
fn item(call: &mut Call<'_>, ask: &Ask, ptr: i32, len: i32) -> Result<i32> {
    let buffer = call.buffer(ptr, unsigned(len))?;
    match call.ctx.observe(ask.clone())? {
        Answer::Bytes(bytes) if bytes.len() <= buffer.len() => {
            call.write(&buffer, &bytes);
            length(&bytes)
        }
        Answer::Bytes(bytes) => Ok(too_small(call, &buffer, u32::try_from(bytes.len())?)),
        Answer::None => Ok(NONE),
        other => Err(unfit(ask, &other)),
    }
}

/// Says how much room is needed, where there is room for that.
fn too_small(call: &mut Call<'_>, buffer: &Buffer, needed: u32) -> i32 {
    if buffer.len() >= 4 {
        call.write(buffer, &needed.to_le_bytes());
    }
    BUFFER_TOO_SMALL
}

fn migrate_to(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<i32> {
    let call = Call::new(&mut caller, "migrate_to")?;
    let buffer = call.buffer(ptr, unsigned(len))?;
    if !call.ctx.in_tick() {
        return Ok(OUTSIDE_TICK);
    }
    let to = match std::str::from_utf8(call.read(&buffer.first(KEY_BYTES_MAX + 1))) {
        Ok("") => Some(Destination::Anywhere),
        Ok(text) => text.parse().ok().map(Destination::Node),
        Err(_) => None,
    };
    match to {
        Some(to) => call.ctx.hold(Held::MigrateTo(to)).map(|_| 0),
        None => Ok(NOT_A_NODE),
    }
}

fn rand_bytes(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<i32> {
    fill_random(&mut Call::new(&mut caller, "rand_bytes")?, ptr, len).map(|()| 0)
}

/// Fills a buffer with random bytes.
pub(super) fn fill_random(call: &mut Call<'_>, ptr: i32, len: i32) -> Result<()> {
    let buffer = call.buffer(ptr, unsigned(len))?;
    let ask = Ask::Random(unsigned(len));
    match call.ctx.observe(ask.clone())? {
        Answer::Bytes(bytes) if bytes.len() == buffer.len() => {
            call.write(&buffer, &bytes);
            Ok(())
        }
        other => Err(unfit(&ask, &other)),
    }
}

fn log_emit(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<()> {
    let call = Call::new(&mut caller, "log_emit")?;
    let buffer = call.buffer(ptr, unsigned(len))?;
    let text = call.read(&buffer.first(LOG_CALL_BYTES_MAX));
    // One call is one line, unless its text has several: a line must not pass for two where lines are shown.
    let mut lines = Lines::default();
    lines.feed(text.strip_suffix(b"\n").unwrap_or(text), |line| call.ctx.log(line))?;
    call.ctx.log(lines.finish().unwrap_or_default())?;
    if buffer.len() > LOG_CALL_BYTES_MAX { call.ctx.log(CUT.trim_start().into()) } else { Ok(()) }
}

fn resumed_gap(ctx: &Ctx) -> Result<i64> {
    Ok(i64::try_from(ctx.membrane()?.resumed_gap().0).unwrap_or(i64::MAX))
}

fn message_next(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<i32> {
    let mut call = Call::new(&mut caller, "message_next")?;
    let buffer = call.buffer(ptr, unsigned(len))?;
    if !call.ctx.in_tick() {
        return Ok(OUTSIDE_TICK);
    }
    let ask = Ask::Message { room: unsigned(len) };
    match call.ctx.observe(ask.clone())? {
        Answer::Bytes(bytes) if bytes.len() <= buffer.len() => {
            call.write(&buffer, &bytes);
            length(&bytes)
        }
        Answer::TooLong(needed) => Ok(too_small(&mut call, &buffer, needed)),
        Answer::None => Ok(NONE),
        other => Err(unfit(&ask, &other)),
    }
}

fn message_reply(mut caller: Caller<'_, Ctx>, ptr: i32, len: i32) -> Result<i32> {
    let call = Call::new(&mut caller, "message_reply")?;
    let buffer = call.buffer(ptr, unsigned(len))?;
    if !call.ctx.in_tick() {
        return Ok(OUTSIDE_TICK);
    }
    // Before it is copied; the membrane has the same limit.
    if unsigned(len) > call.ctx.message_bytes {
        return Ok(TOO_LARGE);
    }
    let reply = call.read(&buffer).to_vec();
    Ok(match call.ctx.hold(Held::Reply(reply))? {
        Hold::Held => 0,
        Hold::NoMessage => NONE,
        Hold::AlreadyReplied => ALREADY_REPLIED,
        Hold::TooLong => TOO_LARGE,
    })
}

/// A request that has a meaning in ticks only.
fn request(ctx: &Ctx, name: &'static str, held: Held) -> Result<()> {
    if !ctx.in_tick() {
        return Err(Halt::OutsideTick(name).into());
    }
    ctx.hold(held).map(drop)
}

/// The length of what was written to guest memory, which is below 4 GiB and by the limits far below 2.
fn length(bytes: &[u8]) -> Result<i32> {
    Ok(i32::try_from(bytes.len())?)
}
