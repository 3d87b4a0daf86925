//! What an agent is: a state that can be written down, and a tick.

use serde::{Serialize, de::DeserializeOwned};

use crate::context::Context;

/// A program whose whole life is in its state: implement it, then name the type in [`agent!`](crate::agent!).
pub trait Agent: Serialize + DeserializeOwned {
    /// The layout of the state. Raise it when a change of the type makes older states unreadable, and read those
    /// in [`Agent::upgrade`].
    const STATE_VERSION: u8 = 1;

    /// The state of a newborn agent.
    ///
    /// Runs in every new instance, also just before an older state is restored over its result: so it should be
    /// cheap and not announce a birth. Messages, wake and finish are for ticks only.
    fn init(context: &mut impl Context) -> Self;

    /// One step of the agent's life. All of it happens or, when it panics or exceeds a limit, none of it.
    fn tick(&mut self, context: &mut impl Context) -> Next;

    /// Reads a state that an earlier version of this program wrote with another [`Agent::STATE_VERSION`].
    /// `None`, the default, refuses it, and the agent's last state stays what it was.
    #[must_use]
    fn upgrade(version: u8, state: &[u8]) -> Option<Self> {
        let _ = (version, state);
        None
    }
}

/// What should happen after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for the interval, a message or a wake.
    Wait,
    /// There is more to do: tick again as soon as the node allows.
    MoreWork,
}

/// Makes the exports of an agent's module from a type that implements [`Agent`].
///
/// Once in a crate of type `cdylib`. On other targets than wasm it makes nothing, so the same crate can be tested
/// and used natively.
#[macro_export]
macro_rules! agent {
    ($agent:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "an export's name is an unsafe attribute: two of one name would collide")]
        const _: () = {
            ::std::thread_local! {
                static SLOT: $crate::private::Slot<$agent> = $crate::private::Slot::default();
            }

            #[unsafe(no_mangle)]
            extern "C" fn agent_init() {
                $crate::private::log_panics();
                SLOT.with(|slot| slot.init(&mut $crate::private::World));
            }

            #[unsafe(no_mangle)]
            extern "C" fn agent_tick() -> i32 {
                SLOT.with(|slot| slot.tick(&mut $crate::private::World))
            }

            #[unsafe(no_mangle)]
            extern "C" fn agent_checkpoint() -> i32 {
                SLOT.with(|slot| slot.checkpoint())
            }

            #[unsafe(no_mangle)]
            extern "C" fn agent_checkpoint_ptr() -> *const u8 {
                SLOT.with(|slot| slot.checkpoint_ptr())
            }

            #[unsafe(no_mangle)]
            extern "C" fn agent_alloc(len: usize) -> *mut u8 {
                SLOT.with(|slot| slot.alloc(len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn agent_resume(ptr: *const u8, len: usize) {
                SLOT.with(|slot| slot.resume(ptr, len));
            }
        };
    };
}

/// Puts a manifest (`agent.toml` as text) into the module, so that whoever runs it need not name one.
///
/// At most once in a crate. What it grants is all that the agent has; a node shows it before it runs the agent.
#[macro_export]
macro_rules! manifest {
    ($text:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the name of a section is an unsafe attribute; nodes only read this one")]
        const _: () = {
            const TEXT: &[u8] = ($text as &str).as_bytes();
            #[used]
            #[unsafe(link_section = "igor.manifest")]
            static SECTION: [u8; TEXT.len()] = match TEXT.first_chunk() {
                Some(bytes) => *bytes,
                None => panic!("it has its own length"),
            };
        };
    };
}

/// Writes one line to the agent's log: `log!(context, "tick {}", n)`.
#[macro_export]
macro_rules! log {
    ($context:expr, $($line:tt)+) => {
        $crate::Context::log($context, &::std::format!($($line)+))
    };
}
