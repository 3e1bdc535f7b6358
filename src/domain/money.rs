//! Money as whole nano-dollars and prices as whole femto-dollars: sums and products are exact, floats exist only at
//! the JSON edge.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_DOLLAR: f64 = 1e9;
const FEMTOS_PER_DOLLAR: f64 = 1e15;
const FEMTOS_PER_NANO: i128 = 1_000_000;

/// An amount of money in nano-dollars (1e-9 USD). Arithmetic saturates: an absurd sum is a huge one, never a negative.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

impl Money {
    pub const ZERO: Money = Money(0);
    pub const MAX: Money = Money(i64::MAX);

    #[must_use]
    pub const fn nanos(nanos: i64) -> Self {
        Money(nanos)
    }

    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Reads dollars; refuses NaN, infinities and what does not fit. Rounds to the nearest nano-dollar.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let nanos = (dollars * NANOS_PER_DOLLAR).round();
        (nanos.is_finite() && nanos.abs() < i64::MAX as f64).then_some(Money(nanos as i64))
    }

    /// Reads dollars as decimal digits with or without a fraction (`12.5`), exactly; what is below a nano-dollar is
    /// dropped. Refuses signs, exponents, and what does not fit.
    #[must_use]
    pub fn from_decimal(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let nanos: i64 = format!("{:0<9.9}", fraction).parse().ok()?;
        whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos).map(Money)
    }

    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / NANOS_PER_DOLLAR
    }

    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Sums of `count x price` in femto-dollars, rounded half up to a nano-dollar once.
    #[must_use]
    pub fn from_femtos(femtos: i128) -> Self {
        let nanos = (femtos + FEMTOS_PER_NANO / 2).div_euclid(FEMTOS_PER_NANO);
        Money(nanos.clamp(i64::MIN as i128, i64::MAX as i128) as i64)
    }

    #[must_use]
    pub fn femtos(self) -> i128 {
        i128::from(self.0) * FEMTOS_PER_NANO
    }
}

impl fmt::Display for Money {
    /// `$1.25`, `$0.0000045`: all nine decimals that say something, at least two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let decimals = format!("{:09}", nanos % 1_000_000_000);
        let shown = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{sign}${}.{}", nanos / 1_000_000_000, &decimals[..shown])
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        *self = *self + other;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Money) {
        *self = *self - other;
    }
}

impl Neg for Money {
    type Output = Money;
    fn neg(self) -> Money {
        Money(self.0.saturating_neg())
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::ZERO, Add::add)
    }
}

/// At the JSON edge money is a number of dollars, as LiteLLM writes it.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Money::from_dollars(dollars).ok_or_else(|| serde::de::Error::custom("not a finite amount of dollars"))
    }
}

impl schemars::JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dollars".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number", "description": "US dollars"})
    }
}

/// The price of one unit (a token, a second, an image …) in femto-dollars (1e-15 USD): 0.15 USD per million tokens is
/// 150,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(i64);

impl Price {
    pub const ZERO: Price = Price(0);

    /// Reads dollars per unit; refuses what is negative, not finite or too large (over 9,000 USD a unit).
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let femtos = (dollars * FEMTOS_PER_DOLLAR).round();
        (femtos.is_finite() && femtos >= 0.0 && femtos < i64::MAX as f64).then_some(Price(femtos as i64))
    }

    #[must_use]
    pub const fn femtos(self) -> i64 {
        self.0
    }

    /// What `units` cost, in femto-dollars; sum these, then round once with [`Money::from_femtos`].
    #[must_use]
    pub fn times(self, units: u64) -> i128 {
        i128::from(self.0) * i128::from(units)
    }

    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_shows_the_decimals_that_say_something() {
        for (nanos, shown) in [
            (0, "$0.00"),
            (1_250_000_000, "$1.25"),
            (4_500, "$0.0000045"),
            (-10, "-$0.00000001"),
            (i64::MIN, "-$9223372036.854775808"),
        ] {
            assert_eq!(Money::nanos(nanos).to_string(), shown);
        }
    }

    #[test]
    fn money_refuses_what_is_not_an_amount() {
        for dollars in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e12] {
            assert_eq!(Money::from_dollars(dollars), None, "{dollars}");
        }
    }

    #[test]
    fn decimal_text_is_read_exactly() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("00.10", Some(100_000_000)),
            ("12.5", Some(12_500_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000019", Some(1)),
            ("9223372036.854775807", Some(i64::MAX)),
            ("9223372036.854775808", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(Money::from_decimal(text).map(Money::as_nanos), nanos, "{text}");
        }
        for text in [
            "", ".", ".5", "5.", "-1", "+1", "1e309", "1e2", "NaN", "nan", "inf", "Infinity", "0x10", "1_000", "1,5",
            "1.2.3", "$5", "\u{661}", " 1",
        ] {
            assert_eq!(Money::from_decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_price_below_a_nano_dollar_is_summed_before_it_is_rounded() {
        let price = Price::from_dollars(3.75e-8).unwrap();
        assert_eq!(Money::from_femtos(price.times(1)), Money::nanos(38));
        assert_eq!(Money::from_femtos(price.times(1_000)), Money::nanos(37_500));
    }
}
