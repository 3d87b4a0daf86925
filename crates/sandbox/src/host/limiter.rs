//! What a guest may grow to.
//!
//! A growth beyond the limits is refused to the guest, deterministically, as the specification says; it may go on.
//! A growth that the limits allow and the machine refuses ends the run: the guest must not see how much memory a
//! machine has.

use super::Halt;
use igor_protocol::manifest::Limits;
use wasmtime::ResourceLimiter;

/// The limits of one instance, and whether it met them.
pub(crate) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    /// Elements of all tables so far.
    table_elements_used: usize,
    /// The last growth that was refused, in words. A trap after it is most likely because of it.
    refused: Option<String>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            table_elements: limits.table_elements as usize,
            table_elements_used: 0,
            refused: None,
        }
    }

    /// The last growth that was refused since this was asked last.
    pub(crate) fn take_refused(&mut self) -> Option<String> {
        self.refused.take()
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, desired: usize, declared: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes;
        if !granted {
            self.refused =
                Some(format!("{desired} bytes of memory were refused: limits.memory_bytes is {}", self.memory_bytes));
        }
        // What is beyond the module's own maximum is refused here too, so that only the machine is left to fail.
        Ok(granted && declared.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Halt::HostMemory(error.to_string()).into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, declared: Option<usize>) -> wasmtime::Result<bool> {
        if declared.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let used = self.table_elements_used.saturating_add(desired.saturating_sub(current));
        if used > self.table_elements {
            self.refused =
                Some(format!("{used} table elements were refused: limits.table_elements is {}", self.table_elements));
            return Ok(false);
        }
        self.table_elements_used = used;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Halt::HostMemory(error.to_string()).into())
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    // How many tables there are is bounded by their elements at load; each costs little.
}
