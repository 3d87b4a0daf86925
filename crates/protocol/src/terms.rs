//! What a run costs: the terms of a node, and the ceiling that the manifest puts on its measured time.

use crate::units::{Credits, Fuel, Nanos};
use minicbor::{Decode, Encode};

/// The price of a node, in whole units, countersigned by it and fixed until custody changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Terms {
    /// Units for each nanosecond of execution.
    #[n(0)]
    pub price_per_ns: u64,
    /// Units for each unit of fuel.
    #[n(1)]
    pub price_per_fuel: u64,
}

/// The longest time that a run can be billed for, so that a slow or dishonest host can never charge more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ceiling {
    /// Time that every run may take.
    #[n(0)]
    pub base: Nanos,
    /// Picoseconds for each unit of fuel (machines run 4 to 27 fuel in a nanosecond).
    #[n(1)]
    pub picos_per_fuel: u64,
    /// Time for each hostcall.
    #[n(2)]
    pub per_hostcall: Nanos,
}

impl Ceiling {
    /// The longest billable time of a run that used this much fuel and made this many hostcalls.
    pub fn of(&self, fuel: Fuel, hostcalls: u64) -> Nanos {
        let by_fuel = u128::from(fuel.0) * u128::from(self.picos_per_fuel) / 1000;
        let by_calls = u128::from(hostcalls) * u128::from(self.per_hostcall.0);
        let sum = u128::from(self.base.0).saturating_add(by_fuel).saturating_add(by_calls);
        Nanos(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}

impl Terms {
    /// The bill of a run: `min(duration, ceiling) * price_per_ns + fuel * price_per_fuel`, exact.
    ///
    /// Each product is below 2^128; a sum beyond that is held at the largest amount, which no balance can pay.
    pub fn bill(&self, duration: Nanos, ceiling: Nanos, fuel: Fuel) -> Credits {
        let time = u128::from(duration.min(ceiling).0) * u128::from(self.price_per_ns);
        let work = u128::from(fuel.0) * u128::from(self.price_per_fuel);
        Credits::from_units(time.saturating_add(work))
    }

    /// Whether these pay at least what a node asks.
    pub const fn covers(&self, asked: &Self) -> bool {
        self.price_per_ns >= asked.price_per_ns && self.price_per_fuel >= asked.price_per_fuel
    }

    /// The price of a billion units of fuel, which is about what a machine runs in a tenth of a second.
    pub fn per_billion_fuel(&self) -> Credits {
        Credits::from_units(u128::from(self.price_per_fuel) * 1_000_000_000)
    }

    /// The price of a second, as `--price` takes it.
    pub fn per_second(&self) -> Credits {
        Credits::from_units(u128::from(self.price_per_ns) * 1_000_000_000)
    }
}
