//! Amounts and bills against arithmetic that cannot overflow.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

use igor_protocol::{
    Credits, Fuel, Nanos, Terms,
    terms::Ceiling,
    units::CreditsParseError::{self, Syntax, TooFine, TooLarge},
};
use proptest::prelude::*;

/// A natural number of any size: digits to base 2^32, the lowest first, no leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Natural(Vec<u32>);

impl Natural {
    fn of(mut value: u128) -> Self {
        let mut digits = vec![];
        while value > 0 {
            digits.push(low(value));
            value >>= 32;
        }
        Self(digits)
    }

    fn plus(&self, other: &Self) -> Self {
        let (mut digits, mut carry) = (vec![], 0u128);
        for n in 0..=self.0.len().max(other.0.len()) {
            carry += u128::from(self.digit(n)) + u128::from(other.digit(n));
            digits.push(low(carry));
            carry >>= 32;
        }
        Self(digits).trimmed()
    }

    fn times(&self, other: u64) -> Self {
        let (mut digits, mut carry) = (vec![], 0u128);
        for n in 0..self.0.len() + 2 {
            carry += u128::from(self.digit(n)) * u128::from(other);
            digits.push(low(carry));
            carry >>= 32;
        }
        Self(digits).trimmed()
    }

    /// The quotient, rounded down.
    fn over(&self, divisor: u32) -> Self {
        let (mut digits, mut rest) = (self.0.clone(), 0u64);
        for digit in digits.iter_mut().rev() {
            rest = rest << 32 | u64::from(*digit);
            *digit = low((rest / u64::from(divisor)).into());
            rest %= u64::from(divisor);
        }
        Self(digits).trimmed()
    }

    /// The value, or the largest of `bits` bits.
    fn held_at(&self, bits: u32) -> u128 {
        let most = u128::MAX >> (128 - bits);
        if self.0.len() > 4 {
            return most;
        }
        self.0.iter().rev().fold(0u128, |value, digit| value << 32 | u128::from(*digit)).min(most)
    }

    fn digit(&self, n: usize) -> u32 {
        self.0.get(n).copied().unwrap_or(0)
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }
}

fn low(value: u128) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap()
}

/// Small, ordinary and extreme numbers alike.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), (0u32..64, any::<u64>()).prop_map(|(bits, n)| n >> bits), Just(0), Just(u64::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_bill_is_exact(price_per_ns in number(), price_per_fuel in number(), [ns, top, fuel] in [number(), number(), number()]) {
        let terms = Terms { price_per_ns, price_per_fuel };
        let time = Natural::of(ns.min(top).into()).times(price_per_ns);
        let work = Natural::of(fuel.into()).times(price_per_fuel);
        prop_assert_eq!(terms.bill(Nanos(ns), Nanos(top), Fuel(fuel)).units(), time.plus(&work).held_at(128));
    }

    #[test]
    fn a_ceiling_is_exact([base, picos_per_fuel, per_call, fuel, calls] in [number(), number(), number(), number(), number()]) {
        let ceiling = Ceiling { base: Nanos(base), picos_per_fuel, per_hostcall: Nanos(per_call) };
        let by_fuel = Natural::of(fuel.into()).times(picos_per_fuel).over(1000);
        let by_calls = Natural::of(calls.into()).times(per_call);
        let expected = Natural::of(base.into()).plus(&by_fuel).plus(&by_calls).held_at(64);
        prop_assert_eq!(u128::from(ceiling.of(Fuel(fuel), calls).0), expected);
    }

    #[test]
    fn an_amount_is_printed_and_parsed(units in prop_oneof![any::<u128>(), number().prop_map(u128::from)]) {
        let amount = Credits::from_units(units);
        let text = amount.to_string();
        prop_assert_eq!(text.parse(), Ok(amount));
        prop_assert!(!text.contains('.') || !text.ends_with('0'), "{} is not the shortest text", text);
    }

    #[test]
    fn sums_and_differences_are_checked([a, b] in [any::<u128>(), any::<u128>()]) {
        let (x, y) = (Credits::from_units(a), Credits::from_units(b));
        let sum = Natural::of(a).plus(&Natural::of(b));
        prop_assert_eq!(x.checked_add(y).map(|c| Natural::of(c.units())), (sum.0.len() <= 4).then_some(sum));
        prop_assert_eq!(x.checked_sub(y).is_some(), a >= b);
        prop_assert_eq!(x.checked_sub(y).and_then(|rest| rest.checked_add(y)), (a >= b).then_some(x));
    }
}

#[test]
fn amounts_in_words() {
    let check = |text: &str, expected: Result<u128, CreditsParseError>| {
        assert_eq!(text.parse::<Credits>().map(Credits::units), expected, "{text:?}");
    };
    check("0", Ok(0));
    check("10", Ok(10_000_000_000_000_000_000));
    check("0.5", Ok(500_000_000_000_000_000));
    check("007.10", Ok(7_100_000_000_000_000_000));
    check("0.000000000000000001", Ok(1));
    check("340282366920938463463.374607431768211455", Ok(u128::MAX));
    check("340282366920938463463.374607431768211456", Err(TooLarge));
    check("99999999999999999999999999999999999999999999", Err(TooLarge));
    check("0.0000000000000000001", Err(TooFine));
    for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1.2.3", "٣", "0x1"] {
        check(text, Err(Syntax));
    }
}

#[test]
fn a_guest_sees_microcredits_rounded_down() {
    let micro = |text: &str| text.parse::<Credits>().unwrap().to_guest_micro();
    assert_eq!(micro("1.0000019"), 1_000_001);
    assert_eq!(micro("0.000000999"), 0);
    assert_eq!(Credits::MAX.to_guest_micro(), i64::MAX);
}
