//! What the process keeps of memory that was freed.
//!
//! The allocator of glibc gives threads arenas of their own, up to eight for each processor, and each keeps what its
//! busiest moment took. A node that moves agents about has many short moments on many threads: after half an hour it held
//! three times what it used. With few arenas what one thread frees serves the others, at the price of a lock that is rarely
//! waited for.

/// Arenas of the whole process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: i32 = 2;

/// Bounds how much freed memory the process keeps. Call it first of all: threads keep the arenas that they have.
///
/// Where there is another allocator than glibc's, nothing happens.
#[allow(unsafe_code)]
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes two numbers and touches nothing but the allocator's own settings, under their lock.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX) };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    debug_assert_eq!(set, 1, "the allocator knows this setting");
}
