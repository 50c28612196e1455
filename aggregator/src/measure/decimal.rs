//! Numbers of events as whole millionths: sums are exact, so they do not depend on the order in which events come.

use crate::snapshot::{Reader, Saved};
use std::fmt;

/// Millionths in one.
const SCALE: i128 = 1_000_000;
/// Beyond it a fraction is no number here; sums of 10^12 such numbers still fit.
const LARGEST_FRACTION: f64 = 9.2e18;

/// A number in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    pub fn from_integer(number: i64) -> Self {
        Self(i128::from(number) * SCALE)
    }

    /// Rounded to millionths; None if it is too large.
    pub fn from_fraction(number: f64) -> Option<Self> {
        // Within the bound the product is far below 2^127: the conversion is exact.
        (number.abs() <= LARGEST_FRACTION).then(|| Self((number * 1e6).round() as i128))
    }

    /// `part / whole`, rounded.
    pub fn ratio(part: u64, whole: u64) -> Self {
        Self(i128::from(part) * SCALE).divided_by(whole).unwrap_or_default()
    }

    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Rounded half away from zero; None for no events.
    pub fn divided_by(self, count: u64) -> Option<Self> {
        let count = i128::from(count);
        let half = count / 2 * self.0.signum();
        (count > 0).then(|| Self(self.0.saturating_add(half) / count))
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(i128::from_le_bytes(bytes))
    }
}

impl Saved for Decimal {
    fn save(&self, out: &mut Vec<u8>) {
        u128::from_le_bytes(self.to_bytes()).save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        from.get::<u128>().map(|bits| Self::from_bytes(bits.to_le_bytes()))
    }
}

/// As JSON has it, without zeros at the end: `7`, `-0.25`.
impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) =
            (self.0.unsigned_abs() / SCALE.unsigned_abs(), self.0.unsigned_abs() % SCALE.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(formatter, "{sign}{whole}");
        }
        let digits = format!("{rest:06}");
        write!(formatter, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}
