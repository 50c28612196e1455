//! Chance that comes out the same every time: SplitMix64 from a printed seed.

use crate::figures::Spread;

/// The standard normal distribution's 99th percentile.
const Z99: f64 = 2.326_347_9;

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Log-normal with these two quantiles: times of networks have a long right tail.
    pub fn spread(&mut self, of: Spread) -> f64 {
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        of.p50 * (normal * (of.p99 / of.p50).ln() / Z99).exp()
    }
}

/// The quantile of values that may come in any order.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len().saturating_sub(1) as f64 * q).round() as usize;
    values.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_quantiles() {
        let (mut random, of) = (Random(1), Spread { p50: 2.0, p99: 10.0 });
        let mut values: Vec<f64> = (0..50_000).map(|_| random.spread(of)).collect();
        assert!((quantile(&mut values, 0.5) - 2.0).abs() < 0.05);
        assert!((quantile(&mut values, 0.99) - 10.0).abs() < 1.0);
    }
}
