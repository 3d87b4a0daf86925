//! Numbers with their unit in the type. Money is in [`crate::terms`]'s terms whole units, never a float.

mod credits;

pub use credits::{Credits, ParseError as CreditsParseError};

use minicbor::{Decode, Encode};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// The sum, held at the largest value instead of wrapping.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, held at zero instead of wrapping.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A duration in nanoseconds.
    Nanos
}
number! {
    /// Units of work, as the runtime counts them.
    Fuel
}
number! {
    /// Position of an entry in a journal; Genesis is 0.
    Seq
}
number! {
    /// Number of an attempted tick; the first is 1. Undone ticks count.
    Tick
}

number! {
    /// Number of an object in a journal on object storage; the first is 0. Some count for nothing and are passed over.
    Slot
}

impl Slot {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Nanos {
    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// As the standard library's duration.
    pub const fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

/// A moment, in nanoseconds since the Unix epoch, by the clock of the node that wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

impl Timestamp {
    /// The moment this much later, held at the largest value.
    #[must_use]
    pub const fn after(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.0))
    }

    /// The time from `earlier` to this moment; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// As guests see it: a signed number of nanoseconds.
    pub const fn to_guest(self) -> i64 {
        if self.0 > i64::MAX as u64 { i64::MAX } else { self.0.cast_signed() }
    }
}

/// Which custody of an agent an entry was written under. Ordered by `term`, then `n`.
///
/// A takeover sets the term to its order's counter; every other change of custody raises `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Epoch {
    /// Raised by the owner's takeover orders only.
    #[n(0)]
    pub term: u64,
    /// Raised by every other change of custody.
    #[n(1)]
    pub n: u64,
}

impl Epoch {
    /// The next one of the same term; none after the last.
    pub const fn raised(self) -> Option<Self> {
        match self.n.checked_add(1) {
            Some(n) => Some(Self { n, ..self }),
            None => None,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.n)
    }
}
