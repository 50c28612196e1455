//! What delivery knows of each channel: its newest window with the groups that a correction needs, and the history for scores.
//!
//! Rows of one record batch go in, the moods that they make come out, in order. Never an older state after a newer one: a
//! window that ended before the channel's newest, an early row behind the final ones, and a correction of a window that is no
//! longer shown are counted and passed over. Pure: the same rows in the same order give the same moods.

use super::{
    normalise::{History, Mood, Shares},
    row::{Content, Format, Group, Record, Telling},
};
use crate::config::StreamConfig;
use std::collections::{BTreeMap, HashMap};

/// Groups of a channel's newest window that are kept for corrections; a window with more takes none.
const MAX_KEPT_GROUPS: usize = 1_000;
/// Of the channels that are too many, the share that is forgotten at once: those silent for longest.
const FORGOTTEN_PART: usize = 8;

/// What of a stream's settings decides about its moods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub stream: String,
    pub format: Format,
    pub top_n: usize,
    /// Length of a window that is told in steps: the steps before its end are running results.
    pub cumulate_ms: Option<i64>,
    /// From here on nothing counts any more: the window that reaches it is final.
    pub close_ms: Option<i64>,
    /// A correction brings all groups of its window again, not only those that have changed.
    pub whole_corrections: bool,
    pub max_channels: usize,
}

impl StreamConfig {
    pub fn rules(&self, max_channels: usize) -> Rules {
        let format = Format {
            channel_field: self.channel_field.clone(),
            group_fields: self.group_fields.clone(),
            measure: self.measure.clone(),
        };
        Rules {
            stream: self.name.clone(),
            format,
            top_n: self.top_n,
            cumulate_ms: self.cumulate_ms,
            close_ms: self.close_ms,
            whole_corrections: self.whole_corrections,
            max_channels,
        }
    }
}

/// Why rows made no mood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The channel has a newer window, or a later telling of this one.
    Older,
    /// A correction of a window of which not all is known here.
    Unknown,
}

#[derive(Debug)]
pub struct Channels {
    rules: Rules,
    channels: HashMap<String, Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    newest: Option<Telling>,
    /// By label; `None`: too many, or told as a window.
    groups: Option<BTreeMap<String, Group>>,
    history: History,
}

/// The rows of one telling of one channel's window.
#[derive(Debug, Default)]
struct Told {
    groups: Vec<Group>,
    /// (total, groups) of a window that brings its top only.
    whole: Option<(u64, u64)>,
    last_offset: i64,
}

impl Channels {
    pub fn new(rules: Rules) -> Self {
        Self { rules, channels: HashMap::new() }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The rows of one record batch with their offsets; `skipped` hears of each window that makes no mood.
    pub fn apply(&mut self, rows: Vec<(i64, Record)>, mut skipped: impl FnMut(Skip)) -> Vec<Mood> {
        let mut moods = Vec::new();
        for ((telling, channel), told) in by_telling(rows) {
            match self.channels.entry(channel.clone()).or_default().tell(telling, told, &self.rules) {
                Ok((shares, sequence, history)) => {
                    moods.push(mood(&self.rules, channel, telling, sequence, shares, history))
                }
                Err(skip) => skipped(skip),
            }
        }
        self.forget();
        moods
    }

    /// Back below the limit, with the channels whose newest window is oldest; of equal ones the lower names stay.
    fn forget(&mut self) {
        let max = self.rules.max_channels.max(1);
        if self.channels.len() <= max {
            return;
        }
        let kept = max - max / FORGOTTEN_PART;
        let mut by_age: Vec<_> = self.channels.iter().map(|(name, channel)| (channel.newest, name.clone())).collect();
        by_age.sort_unstable_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        for (_, name) in by_age.drain(kept..) {
            self.channels.remove(&name);
        }
    }
}

/// Windows in order, each with its tellings in order; the channels of one by name.
fn by_telling(rows: Vec<(i64, Record)>) -> BTreeMap<(Telling, String), Told> {
    let mut tellings = BTreeMap::<_, Told>::new();
    for (offset, Record { telling, channel, content }) in rows {
        let told = tellings.entry((telling, channel)).or_default();
        told.last_offset = told.last_offset.max(offset);
        match content {
            Content::Group(group) => told.groups.push(group),
            Content::Window { total, groups, top } => {
                told.whole = Some((total, groups));
                told.groups = top;
            }
        }
    }
    tellings
}

impl Channel {
    fn tell(&mut self, telling: Telling, told: Told, rules: &Rules) -> Result<(Shares, u64, &History), Skip> {
        let again = self.newest.is_some_and(|newest| newest.is_of_same_window(telling));
        if self.newest.is_some_and(|newest| telling < newest || (telling == newest && telling.is_final())) {
            return Err(Skip::Older);
        }
        // Never 0, which means unknown.
        let sequence = u64::try_from(told.last_offset).unwrap_or_default().saturating_add(1);
        let shares = self.shares(telling, told, again, rules)?;
        self.newest = Some(telling);
        self.history.tell(telling, &shares);
        Ok((shares, sequence, &self.history))
    }

    fn shares(&mut self, telling: Telling, told: Told, again: bool, rules: &Rules) -> Result<Shares, Skip> {
        if let Some((total, count)) = told.whole {
            self.groups = None;
            // A total counts events; of another measure only the top is known.
            let whole = (rules.format.measure == "count").then_some((total as f64, count));
            return Ok(Shares::new(told.groups, whole));
        }
        if telling.revision() > 0 && !rules.whole_corrections {
            let groups = self.groups.as_mut().filter(|_| again).ok_or(Skip::Unknown)?;
            groups.extend(told.groups.into_iter().map(|group| (group.label.clone(), group)));
        } else {
            self.groups = Some(told.groups.into_iter().map(|group| (group.label.clone(), group)).collect());
        }
        let all: Vec<Group> = self.groups.iter().flat_map(BTreeMap::values).cloned().collect();
        if all.len() > MAX_KEPT_GROUPS {
            self.groups = None;
        }
        Ok(Shares::new(all, None))
    }
}

fn mood(rules: &Rules, channel_id: String, telling: Telling, sequence: u64, shares: Shares, history: &History) -> Mood {
    Mood {
        stream: rules.stream.clone(),
        channel_id,
        telling,
        is_final: is_final(rules, telling),
        sequence,
        total: shares.total,
        groups: shares.groups,
        top: shares.top(rules.top_n, history),
    }
}

fn is_final(rules: &Rules, telling: Telling) -> bool {
    let length = telling.window_end.saturating_sub(telling.window_start);
    let ended = rules.cumulate_ms.is_none_or(|whole| length >= whole);
    telling.is_final() && (ended || rules.close_ms.is_some_and(|close| telling.window_end >= close))
}

#[cfg(test)]
#[path = "channels_tests.rs"]
mod tests;
