//! One client instance: when it may ask and push again, and what it was last refused for. Pure: time is an input.

use super::{Client, Push, Subscription};
use kafka_protocol::ResponseError;

/// An instance is forgotten when it was unheard of for so long, or for three of its intervals if that is longer; as in Kafka.
const EXPIRY_MS: i64 = 60_000;
const EXPIRY_INTERVALS: i64 = 3;
/// The highest number of a codec.
const CODECS: std::ops::RangeInclusive<i8> = 0..=4;

/// Why a client is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Sent again before its interval is over.
    TooSoon,
    /// Pushed for a subscription that is not, or no longer, its own.
    UnknownSubscription,
    UnsupportedCompression,
    TooLarge,
    /// Does not unpack.
    Damaged,
    /// Came again after it said that it ends, or without a name.
    Invalid,
}

impl Refusal {
    pub fn kind(self) -> ResponseError {
        match self {
            Self::TooSoon => ResponseError::ThrottlingQuotaExceeded,
            Self::UnknownSubscription => ResponseError::UnknownSubscriptionId,
            Self::UnsupportedCompression => ResponseError::UnsupportedCompressionType,
            Self::TooLarge => ResponseError::TelemetryTooLarge,
            Self::Damaged => ResponseError::InvalidRecord,
            Self::Invalid => ResponseError::InvalidRequest,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::TooSoon => "too soon",
            Self::UnknownSubscription => "unknown subscription",
            Self::UnsupportedCompression => "unsupported compression",
            Self::TooLarge => "too large",
            Self::Damaged => "damaged",
            Self::Invalid => "invalid",
        }
    }
}

/// What is known of a client instance.
#[derive(Debug)]
pub struct Instance {
    pub subscription: Subscription,
    pub subscriptions_version: u64,
    /// Who it is, for when subscriptions change.
    pub client: Client,
    pub heard_ms: i64,
    subscribed_ms: i64,
    pushed_ms: i64,
    is_terminating: bool,
    last_refusal: Option<Refusal>,
}

pub fn is_expired(instance: &Instance, now_ms: i64) -> bool {
    let longest = EXPIRY_MS.max(EXPIRY_INTERVALS * i64::from(instance.subscription.push_interval_ms));
    instance.heard_ms.saturating_add(longest) < now_ms
}

impl Instance {
    pub fn new(subscription: Subscription, client: Client, subscriptions_version: u64) -> Self {
        Self {
            subscription,
            subscriptions_version,
            client,
            heard_ms: 0,
            subscribed_ms: 0,
            pushed_ms: 0,
            is_terminating: false,
            last_refusal: None,
        }
    }

    /// Asks what to push: once in an interval, or when it was just told that it asks or packs wrongly.
    pub fn subscribe(&mut self, now_ms: i64) -> Result<(), Refusal> {
        let may_ask_again =
            matches!(self.last_refusal, Some(Refusal::UnknownSubscription | Refusal::UnsupportedCompression));
        if self.is_due(self.subscribed_ms.max(self.pushed_ms), now_ms) {
            self.subscribed_ms = now_ms;
        } else if !may_ask_again {
            return Err(Refusal::TooSoon);
        }
        self.last_refusal = None;
        Ok(())
    }

    /// Pushes: once in an interval, at once after it has asked, and when it ends.
    pub fn push(&mut self, now_ms: i64, push: &Push, max_bytes: usize) -> Result<(), Refusal> {
        let accepted = self.check_push(now_ms, push, max_bytes);
        self.is_terminating = push.is_terminating;
        self.last_refusal = accepted.err();
        accepted
    }

    pub fn failed(&mut self, refusal: Refusal) {
        self.last_refusal = Some(refusal);
    }

    fn check_push(&mut self, now_ms: i64, push: &Push, max_bytes: usize) -> Result<(), Refusal> {
        if self.is_terminating {
            return Err(Refusal::Invalid);
        }
        if self.subscribed_ms > self.pushed_ms || self.is_due(self.pushed_ms, now_ms) {
            self.pushed_ms = now_ms;
        } else if !push.is_terminating {
            return Err(Refusal::TooSoon);
        }
        if push.subscription_id != self.subscription.id {
            return Err(Refusal::UnknownSubscription);
        }
        if !CODECS.contains(&push.compression) {
            return Err(Refusal::UnsupportedCompression);
        }
        if push.metrics.len() > max_bytes {
            return Err(Refusal::TooLarge);
        }
        Ok(())
    }

    fn is_due(&self, since_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(since_ms) >= i64::from(self.subscription.push_interval_ms)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW_MS: i64 = 1_800_000_000_000;
    const INTERVAL_MS: i32 = 1000;
    const MAX_BYTES: usize = 10;

    fn instance() -> Instance {
        let subscription = Subscription { id: 7, push_interval_ms: INTERVAL_MS, metrics: Vec::new() };
        Instance::new(subscription, Client::default(), 0)
    }

    fn of(subscription_id: i32) -> Push {
        Push { subscription_id, is_terminating: false, compression: 0, metrics: Bytes::from_static(b"metrics") }
    }

    #[test]
    fn asks_and_pushes_once_in_an_interval() {
        let mut instance = instance();
        assert_eq!(instance.subscribe(NOW_MS), Ok(()));
        assert_eq!(instance.subscribe(NOW_MS + 1), Err(Refusal::TooSoon));
        assert_eq!(instance.push(NOW_MS + 2, &of(7), MAX_BYTES), Ok(()), "at once after it has asked");
        assert_eq!(instance.push(NOW_MS + 3, &of(7), MAX_BYTES), Err(Refusal::TooSoon));
        assert_eq!(instance.push(NOW_MS + 1002, &of(7), MAX_BYTES), Ok(()));
        assert_eq!(instance.subscribe(NOW_MS + 1003), Err(Refusal::TooSoon), "a push counts, too");
        assert_eq!(instance.subscribe(NOW_MS + 2002), Ok(()));
    }

    #[test]
    fn may_ask_again_when_it_was_wrong() {
        let mut instance = instance();
        instance.subscribe(NOW_MS).unwrap();
        assert_eq!(instance.push(NOW_MS + 1, &of(8), MAX_BYTES), Err(Refusal::UnknownSubscription));
        assert_eq!(instance.subscribe(NOW_MS + 2), Ok(()));
        assert_eq!(instance.subscribe(NOW_MS + 3), Err(Refusal::TooSoon), "but not twice");
        let packed = Push { compression: 5, ..of(7) };
        assert_eq!(instance.push(NOW_MS + 1001, &packed, MAX_BYTES), Err(Refusal::UnsupportedCompression));
        let large = Push { metrics: Bytes::from_static(b"01234567890"), ..of(7) };
        assert_eq!(instance.push(NOW_MS + 2001, &large, MAX_BYTES), Err(Refusal::TooLarge));
    }

    #[test]
    fn the_last_push_is_the_last() {
        let mut instance = instance();
        instance.subscribe(NOW_MS).unwrap();
        instance.push(NOW_MS + 1, &of(7), MAX_BYTES).unwrap();
        let last = Push { is_terminating: true, ..of(7) };
        assert_eq!(instance.push(NOW_MS + 2, &last, MAX_BYTES), Ok(()), "does not wait for its interval");
        assert_eq!(instance.push(NOW_MS + 5000, &last, MAX_BYTES), Err(Refusal::Invalid));
    }

    #[test]
    fn expires_after_three_intervals_and_a_minute() {
        let mut instance = instance();
        instance.heard_ms = NOW_MS;
        assert!(!is_expired(&instance, NOW_MS + 60_000) && is_expired(&instance, NOW_MS + 60_001));
        instance.subscription.push_interval_ms = 100_000;
        assert!(!is_expired(&instance, NOW_MS + 300_000) && is_expired(&instance, NOW_MS + 300_001));
    }
}
