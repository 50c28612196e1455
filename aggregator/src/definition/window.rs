//! `window`: how event time is cut.

use crate::duration_text;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Steps of one window: each window is told, or shared, so many times.
const MAX_STEPS: u128 = 10_000;
const WORDED: &str = "a window is { tumble = \"2s\" }, { hop = \"10s\", every = \"2s\" }, \
                      { cumulate = \"10m\", every = \"2s\" } or { session = \"30s\" }";

/// How event time is cut into windows, aligned to the epoch, or to `open` if the definition has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub enum Window {
    /// Windows of one length, side by side.
    Tumble(Duration),
    /// Windows of `size`, one beginning every `every`: an event is in several.
    Hop { size: Duration, every: Duration },
    /// A window of `size` that is told every `every` with all that came since its start.
    Cumulate { size: Duration, every: Duration },
    /// A group's events with less than this between one and the next.
    Session(Duration),
}

impl Window {
    /// (length of the longest window, time from one closing to the next).
    pub fn times(self) -> (Duration, Duration) {
        match self {
            Self::Tumble(size) | Self::Session(size) => (size, size),
            Self::Hop { size, every } | Self::Cumulate { size, every } => (size, every),
        }
    }

    /// What the types do not say.
    pub fn check(self) -> Result<(), String> {
        let (size, every) = self.times();
        if every.is_zero() || size.is_zero() {
            return Err("a window lasts at least 1ms".to_owned());
        }
        if !size.as_millis().is_multiple_of(every.as_millis()) {
            let (size, every) = (duration_text::format(size), duration_text::format(every));
            return Err(format!("`every` must divide the window: {size} is no multiple of {every}"));
        }
        if size.as_millis() / every.as_millis() > MAX_STEPS {
            return Err(format!("a window has at most {MAX_STEPS} steps of `every`"));
        }
        Ok(())
    }
}

/// As in the fingerprint: `tumble=2s`, `hop=10s every=2s`.
impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = BTreeMap::<String, String>::from(*self);
        let (kind, rest): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(name, _)| name != "every");
        let words: Vec<_> = kind.into_iter().chain(rest).map(|(name, value)| format!("{name}={value}")).collect();
        formatter.write_str(&words.join(" "))
    }
}

impl TryFrom<BTreeMap<String, String>> for Window {
    type Error = String;

    fn try_from(raw: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let time = |name: &str| raw.get(name).map(|text| duration_text::parse(text)).transpose();
        let every = time("every")?;
        let kinds = (time("tumble")?, time("hop")?, time("cumulate")?);
        if let (Some(gap), 1) = (time("session")?, raw.len()) {
            return Ok(Self::Session(gap));
        }
        let needs_every = |kind: &str| {
            format!("a window of kind `{kind}` needs `every`, as in {{ {kind} = \"10m\", every = \"2s\" }}")
        };
        match (kinds, every, raw.len()) {
            ((Some(size), None, None), None, 1) => Ok(Self::Tumble(size)),
            ((None, Some(size), None), Some(every), 2) => Ok(Self::Hop { size, every }),
            ((None, None, Some(size)), Some(every), 2) => Ok(Self::Cumulate { size, every }),
            ((None, Some(_), None), None, 1) => Err(needs_every("hop")),
            ((None, None, Some(_)), None, 1) => Err(needs_every("cumulate")),
            _ => Err(WORDED.to_owned()),
        }
    }
}

impl From<Window> for BTreeMap<String, String> {
    fn from(window: Window) -> Self {
        let fields = match window {
            Window::Tumble(size) => vec![("tumble", size)],
            Window::Hop { size, every } => vec![("hop", size), ("every", every)],
            Window::Cumulate { size, every } => vec![("cumulate", size), ("every", every)],
            Window::Session(gap) => vec![("session", gap)],
        };
        fields.into_iter().map(|(name, time)| (name.to_owned(), duration_text::format(time))).collect()
    }
}
