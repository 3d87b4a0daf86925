//! The imports from module `igor`, and a [`Context`] made of them. The only unsafe code that an agent needs.
#![allow(unsafe_code, reason = "the ABI passes buffers as pointer and length; each call says why they are valid")]

use std::{cell::RefCell, time::Duration};

use crate::context::{Context, Listed, Microcredits, MigrateError, ReplyError, Trigger, UnixNanos};

#[link(wasm_import_module = "igor")]
unsafe extern "C" {
    safe fn clock_now() -> i64;
    fn rand_bytes(ptr: *mut u8, len: usize) -> i32;
    fn log_emit(ptr: *const u8, len: usize);
    safe fn wallet_balance() -> i64;
    safe fn wallet_receipt_count() -> i32;
    fn wallet_receipt(index: i32, ptr: *mut u8, len: usize) -> i32;
    safe fn node_price() -> i64;
    safe fn node_draining() -> i32;
    fn node_list(ptr: *mut u8, len: usize) -> i32;
    fn migrate_to(ptr: *const u8, len: usize) -> i32;
    safe fn trigger() -> i32;
    fn message_next(ptr: *mut u8, len: usize) -> i32;
    fn message_reply(ptr: *const u8, len: usize) -> i32;
    safe fn resumed_gap() -> i64;
    safe fn wake_at(unix_nanos: i64);
    safe fn finish();
}

/// No such message or receipt.
const NONE: i32 = -1;
/// The buffer is too small, and begins with the length that is needed.
const TOO_SMALL: i32 = -5;

/// The world outside the module.
pub struct World;

impl Context for World {
    fn now(&mut self) -> UnixNanos {
        UnixNanos(clock_now())
    }

    fn random(&mut self, buffer: &mut [u8]) {
        // SAFETY: the host writes `len` bytes at most, which are this buffer's alone.
        let code = unsafe { rand_bytes(buffer.as_mut_ptr(), buffer.len()) };
        assert!(code == 0, "rand_bytes failed: code={code}");
    }

    fn log(&mut self, line: &str) {
        emit(line);
    }

    fn balance(&mut self) -> Microcredits {
        Microcredits(wallet_balance())
    }

    fn price_per_second(&mut self) -> Microcredits {
        Microcredits(node_price())
    }

    fn node_draining(&mut self) -> bool {
        node_draining() != 0
    }

    fn nodes(&mut self) -> Vec<Listed> {
        // SAFETY: `read` passes a buffer of this length that nothing else refers to.
        let text = read("node_list", |ptr, len| unsafe { node_list(ptr, len) }).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(Listed::parse).collect()
    }

    fn migrate_to(&mut self, node: &str) -> Result<(), MigrateError> {
        // SAFETY: the host reads `len` bytes, which are this string.
        match unsafe { migrate_to(node.as_ptr(), node.len()) } {
            0 => Ok(()),
            -4 => Err(MigrateError::OutsideTick),
            -6 => Err(MigrateError::NotANode),
            code => Err(MigrateError::Other(code)),
        }
    }

    fn receipt_count(&mut self) -> u32 {
        u32::try_from(wallet_receipt_count()).unwrap_or(0)
    }

    fn receipt(&mut self, index: u32) -> Option<Vec<u8>> {
        let index = i32::try_from(index).ok()?;
        // SAFETY: `read` passes a buffer of this length that nothing else refers to.
        read("wallet_receipt", |ptr, len| unsafe { wallet_receipt(index, ptr, len) })
    }

    fn trigger(&mut self) -> Trigger {
        Trigger::from(trigger())
    }

    fn next_message(&mut self) -> Option<Vec<u8>> {
        // SAFETY: `read` passes a buffer of this length that nothing else refers to.
        read("message_next", |ptr, len| unsafe { message_next(ptr, len) })
    }

    fn reply(&mut self, body: &[u8]) -> Result<(), ReplyError> {
        // SAFETY: the host reads `len` bytes, which are this slice.
        match unsafe { message_reply(body.as_ptr(), body.len()) } {
            0 => Ok(()),
            -1 => Err(ReplyError::NoMessage),
            -2 => Err(ReplyError::AlreadyReplied),
            -3 => Err(ReplyError::TooLarge),
            -4 => Err(ReplyError::OutsideTick),
            code => Err(ReplyError::Other(code)),
        }
    }

    fn resumed_gap(&mut self) -> Duration {
        Duration::from_nanos(u64::try_from(resumed_gap()).unwrap_or(0))
    }

    fn wake_at(&mut self, time: UnixNanos) {
        wake_at(time.0);
    }

    fn finish(&mut self) {
        finish();
    }
}

/// Makes a panic's message the last log line before the trap, so that the log says why.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| emit(&panic.to_string())));
}

fn emit(line: &str) {
    // SAFETY: the host reads `len` bytes, which are this string.
    unsafe { log_emit(line.as_ptr(), line.len()) }
}

thread_local! {
    /// Grows to the largest item yet, so that a stream of messages costs one call each.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 4096]);
}

/// Reads an item of unknown length: once more, with the length that the host named, where the buffer is too small.
fn read(name: &str, call: impl Fn(*mut u8, usize) -> i32) -> Option<Vec<u8>> {
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            let code = call(buffer.as_mut_ptr(), buffer.len());
            if let Ok(len) = usize::try_from(code) {
                return Some(buffer[..len].to_vec());
            }
            match code {
                NONE => return None,
                TOO_SMALL => {
                    let needed = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
                    assert!(needed > buffer.len(), "{name} wants no larger buffer and refuses this one");
                    buffer.resize(needed, 0);
                }
                _ => panic!("{name} failed: code={code}"),
            }
        }
    })
}
