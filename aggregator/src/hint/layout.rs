//! One layout, and whether an event fits it.

use super::number;
use crate::extract::{Slot, Slots};
use std::borrow::Cow;

#[derive(Debug)]
pub struct Layout {
    /// What stands before the first hole.
    pub first: Box<[u8]>,
    pub holes: Vec<Hole>,
    /// Of the literals.
    pub bytes: Counts,
}

#[derive(Debug)]
pub struct Hole {
    pub kind: Kind,
    /// Who wants it.
    pub slot: Option<usize>,
    /// As long as it was the last time: where the literal behind it is looked for first.
    pub length: usize,
    /// The literal behind it.
    pub after: Box<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Between the quotes, which belong to the literals.
    Text,
    Number,
    /// `true`, `false` or `null`.
    Word,
}

/// Bytes that may stand in literals only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub quotes: u64,
    /// Backslashes and control characters.
    pub odd: u64,
}

impl Layout {
    /// Fills the slots; false, with the slots in any state, if the event does not fit.
    #[inline]
    pub fn read<'a>(&mut self, json: &'a [u8], slots: &mut Slots<'a>) -> bool {
        self.walk(json, slots).is_some() && self.has_plain_holes(json)
    }

    /// Literals and holes one after the other, to the last byte. A text may still hold what only a literal may.
    #[inline]
    fn walk<'a>(&mut self, json: &'a [u8], slots: &mut Slots<'a>) -> Option<()> {
        let (first, mut rest) = json.split_at_checked(self.first.len())?;
        if !is_same(first, &self.first) {
            return None;
        }
        for hole in &mut self.holes {
            let (slot, behind) = match hole.kind {
                Kind::Text => hole.text(rest)?,
                Kind::Number => hole.number(rest)?,
                Kind::Word => hole.word(rest)?,
            };
            if let Some(place) = hole.slot.and_then(|place| slots.get_mut(place)) {
                *place = slot;
            }
            rest = behind;
        }
        rest.is_empty().then_some(())
    }

    /// The literals are in place, so what they do not account for is in a hole.
    #[inline]
    fn has_plain_holes(&self, json: &[u8]) -> bool {
        let survey = Survey::of(json);
        survey.counts == self.bytes && (survey.is_ascii || std::str::from_utf8(json).is_ok())
    }
}

impl Hole {
    #[inline]
    fn text<'a>(&mut self, rest: &'a [u8]) -> Option<(Slot<'a>, &'a [u8])> {
        let (text, behind) = match self.split(rest, self.length) {
            Some(found) => found,
            None => {
                self.length = next_quote(rest)?;
                self.split(rest, self.length)?
            }
        };
        Some((Slot::Text(Cow::Borrowed(text)), behind))
    }

    #[inline]
    fn number<'a>(&self, rest: &'a [u8]) -> Option<(Slot<'a>, &'a [u8])> {
        if let Some((number, length)) = number::whole(rest)
            && let Some((_, behind)) = self.split(rest, length)
        {
            return Some((Slot::Integer(number), behind));
        }
        // A number that somebody wants is read by one reader only.
        let length = number::length_of(rest).filter(|_| self.slot.is_none())?;
        self.split(rest, length).map(|(_, behind)| (Slot::Missing, behind))
    }

    fn word<'a>(&self, rest: &'a [u8]) -> Option<(Slot<'a>, &'a [u8])> {
        let words = [("true", Slot::Boolean(true)), ("false", Slot::Boolean(false)), ("null", Slot::Other("null"))];
        let (word, slot) = words.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes()))?;
        self.split(rest, word.len()).map(|(_, behind)| (slot, behind))
    }

    /// A value of this length and what follows the literal behind it, which must be there.
    #[inline]
    fn split<'a>(&self, rest: &'a [u8], length: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (value, behind) = rest.split_at_checked(length)?;
        let (literal, behind) = behind.split_at_checked(self.after.len())?;
        is_same(literal, &self.after).then_some((value, behind))
    }
}

/// For short texts of one length, without a call.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        8..=16 => same_ends::<8>(one, other),
        17..=32 => same_ends::<16>(one, other),
        _ => one == other,
    }
}

/// The first and the last `N` bytes, which are all bytes.
#[inline]
fn same_ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk() && one.last_chunk::<N>() == other.last_chunk()
}

const ONES: u64 = 0x0101_0101_0101_0101;
const QUOTES: u64 = ONES * 0x22;
const HIGH_BITS: u64 = ONES * 0x80;

fn next_quote(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        // A byte that is a quote is 0 now; the lowest such byte is found exactly.
        let word = u64::from_le_bytes(*word) ^ QUOTES;
        let zeros = word.wrapping_sub(ONES) & !word & HIGH_BITS;
        if zeros != 0 {
            return Some(index * 8 + usize::try_from(zeros.trailing_zeros() / 8).ok()?);
        }
    }
    rest.iter().position(|byte| *byte == b'"').map(|at| words.len() * 8 + at)
}

/// Bytes looked at side by side, which the compiler makes vectors of.
const LANES: usize = 32;
/// Bytes until a lane that counts in a byte might be full; one block less, for what is left at the end.
const RUN: usize = LANES * 254;

/// What kinds of bytes are in a text.
pub struct Survey {
    pub counts: Counts,
    pub is_ascii: bool,
}

/// Counted in each lane of the blocks.
struct Lanes {
    quotes: [u8; LANES],
    odd: [u8; LANES],
    /// All bytes, one upon the other.
    bits: [u8; LANES],
}

impl Survey {
    #[inline]
    pub fn of(text: &[u8]) -> Self {
        let mut survey = Self { counts: Counts::default(), is_ascii: true };
        for run in text.chunks(RUN) {
            let (blocks, rest) = run.as_chunks();
            let mut lanes = Lanes { quotes: [0; LANES], odd: [0; LANES], bits: [0; LANES] };
            blocks.iter().for_each(|block| lanes.add(block));
            let mut last = [b' '; LANES];
            if let Some(front) = last.get_mut(..rest.len()) {
                front.copy_from_slice(rest);
            }
            lanes.add(&last);
            survey.counts = survey.counts.plus(Counts { quotes: sum(&lanes.quotes), odd: sum(&lanes.odd) });
            survey.is_ascii &= words(&lanes.bits).fold(0, |all, word| all | word) & HIGH_BITS == 0;
        }
        survey
    }
}

impl Lanes {
    #[inline]
    fn add(&mut self, block: &[u8; LANES]) {
        let lanes = self.quotes.iter_mut().zip(&mut self.odd).zip(&mut self.bits);
        for (byte, ((quotes, odd), bits)) in block.iter().zip(lanes) {
            *quotes += u8::from(*byte == b'"');
            *odd += u8::from(*byte == b'\\') | u8::from(*byte < b' ');
            *bits |= *byte;
        }
    }
}

impl Counts {
    pub fn plus(self, other: Self) -> Self {
        Self { quotes: self.quotes + other.quotes, odd: self.odd + other.odd }
    }
}

fn words(lanes: &[u8; LANES]) -> impl Iterator<Item = u64> {
    lanes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))
}

/// By neighbours first, in 16 bits each, which 32 bytes cannot fill.
#[inline]
fn sum(lanes: &[u8; LANES]) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let pairs: u64 = words(lanes).map(|word| (word & EVEN) + (word >> 8 & EVEN)).sum();
    pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
}
