//! From an event that has been parsed to its layout.
//!
//! The text is known to be JSON, an object, not nested too deep: only then may this be called. What makes a layout ambiguous is
//! refused: a wanted name that occurs twice, or stands for an object or array; a name with an escape; a text with one, as this
//! event would not fit its own layout.

use super::layout::{Counts, Hole, Kind, Layout, Survey};
use super::number;
use crate::extract::{MAX_SLOTS, Plan, Slots, Wanted, no_slots};

/// Holes of one layout.
const MAX_HOLES: usize = 128;

/// The event's layout, if it reads the event as the parser did.
pub fn learn<'a>(plan: &Plan, json: &'a [u8], slots: &Slots<'a>) -> Option<Layout> {
    let mut learner = Learner { plan, json, at: 0, literal_at: 0, first: None, holes: Vec::new() };
    learner.space();
    learner.value(Wanted::Object(0))?;
    let mut layout = learner.finish()?;
    let mut again = no_slots::<MAX_SLOTS>();
    let again = again.get_mut(..slots.len())?;
    let is_same = layout.read(json, again) && *again == *slots;
    is_same.then_some(layout)
}

struct Learner<'p, 'a> {
    plan: &'p Plan,
    json: &'a [u8],
    at: usize,
    /// Where the present literal began.
    literal_at: usize,
    first: Option<Box<[u8]>>,
    holes: Vec<Hole>,
}

impl<'a> Learner<'_, 'a> {
    fn rest(&self) -> &'a [u8] {
        self.json.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
    }

    /// Passes a byte that must be there.
    fn pass(&mut self, byte: u8) -> Option<()> {
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found.then_some(())
    }

    fn value(&mut self, wanted: Wanted) -> Option<()> {
        match (self.rest().first()?, wanted) {
            (b'{', Wanted::Object(node)) => self.object(Some(node)),
            (b'{', Wanted::Nothing) => self.object(None),
            (b'[', Wanted::Nothing) => self.array(),
            (b'{' | b'[', _) | (_, Wanted::Object(_)) => None,
            (b'"', _) => {
                self.at += 1;
                let length = self.text()?.len();
                self.hole(Kind::Text, length, wanted)?;
                self.pass(b'"')
            }
            (b't' | b'n', _) => self.hole(Kind::Word, 4, wanted),
            (b'f', _) => self.hole(Kind::Word, 5, wanted),
            _ => self.hole(Kind::Number, number::length_of(self.rest())?, wanted),
        }
    }

    /// Up to the closing quote, which is not passed.
    fn text(&self) -> Option<&'a [u8]> {
        let end = self.rest().iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (text, behind) = self.rest().split_at_checked(end)?;
        behind.starts_with(b"\"").then_some(text)
    }

    fn object(&mut self, node: Option<usize>) -> Option<()> {
        let mut seen = Vec::new();
        self.pass(b'{')?;
        self.space();
        if self.pass(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            self.pass(b'"')?;
            let name = self.text()?;
            self.at += name.len();
            self.pass(b'"')?;
            self.space();
            self.pass(b':')?;
            self.space();
            let wanted = node.map_or(Wanted::Nothing, |node| self.plan.wanted(node, name));
            if wanted != Wanted::Nothing {
                if seen.contains(&name) {
                    return None;
                }
                seen.push(name);
            }
            self.value(wanted)?;
            self.space();
            if self.pass(b',').is_none() {
                return self.pass(b'}');
            }
        }
    }

    fn array(&mut self) -> Option<()> {
        self.pass(b'[')?;
        self.space();
        if self.pass(b']').is_some() {
            return Some(());
        }
        loop {
            self.space();
            self.value(Wanted::Nothing)?;
            self.space();
            if self.pass(b',').is_none() {
                return self.pass(b']');
            }
        }
    }

    /// Ends the present literal; the next begins behind the hole.
    fn hole(&mut self, kind: Kind, length: usize, wanted: Wanted) -> Option<()> {
        self.end_literal();
        let slot = match wanted {
            Wanted::Slot(slot) => Some(slot),
            _ => None,
        };
        self.holes.push(Hole { kind, slot, length, after: Box::default() });
        self.at += length;
        self.literal_at = self.at;
        (self.holes.len() <= MAX_HOLES).then_some(())
    }

    fn end_literal(&mut self) {
        let literal: Box<[u8]> = self.json.get(self.literal_at..self.at).unwrap_or_default().into();
        match self.holes.last_mut() {
            Some(hole) => hole.after = literal,
            None => self.first = Some(literal),
        }
    }

    fn finish(mut self) -> Option<Layout> {
        self.at = self.json.len();
        self.end_literal();
        let first = self.first?;
        let literals = std::iter::once(&first).chain(self.holes.iter().map(|hole| &hole.after));
        let bytes = literals.map(|literal| Survey::of(literal).counts).fold(Counts::default(), Counts::plus);
        Some(Layout { first, holes: self.holes, bytes })
    }
}
