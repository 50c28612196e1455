//! What is computed of a group's events. Pure; the result never depends on the order in which events or parts come.
//!
//! [`Measures`] is the definition's `measure`, made ready: `event` reads one [`Input`] per cell from an event, an [`Acc`]
//! takes them in, accumulators of several partitions and slices are merged when a window closes, `rows` writes them.

mod cell;
mod decimal;
mod distinct;
mod fastest;

pub use cell::Cell;
pub use decimal::Decimal;
pub use distinct::Distinct;
pub use fastest::{Fastest, Stamp};

use crate::{
    Definition,
    definition::{Condition, Function, Measure},
    snapshot::{Reader, Saved, save_list},
};
use std::collections::BTreeMap;

/// What an event contributes to one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The measure's condition does not hold.
    Nothing,
    /// It is there.
    Presence,
    Number(Decimal),
    /// A value by its hash.
    Hash(u64),
    /// A value, encoded by `group`.
    Value(Box<[u8]>),
}

/// A measure that keeps more than the number of events: one cell in each [`Acc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellPlan {
    pub function: Function,
    pub condition: Option<Condition>,
    /// Values up to which `distinct` is exact.
    pub max_distinct: usize,
}

/// How a measure's value is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The number of events.
    Events,
    /// The number of events as a part of those of the window, or of the groups alike in these group fields.
    Share(Vec<usize>),
    /// The cell with this index.
    Cell(usize),
}

/// The measures of one definition, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measures {
    pub cells: Vec<CellPlan>,
    /// Name in the row.
    pub columns: Vec<(String, Source)>,
}

impl Measures {
    pub fn new(definition: &Definition) -> Self {
        Self::of(&definition.measure, &definition.group_by, definition.max_distinct)
    }

    fn of(measures: &BTreeMap<String, Measure>, group_by: &[String], max_distinct: usize) -> Self {
        let mut all = Self::default();
        for (name, measure) in measures {
            let source = match (&measure.function, &measure.condition) {
                (Function::Count, None) => Source::Events,
                (Function::Share(paths), _) => {
                    Source::Share(paths.iter().filter_map(|path| group_by.iter().position(|by| by == path)).collect())
                }
                (function, condition) => {
                    all.cells.push(CellPlan { function: function.clone(), condition: condition.clone(), max_distinct });
                    Source::Cell(all.cells.len() - 1)
                }
            };
            all.columns.push((name.clone(), source));
        }
        all
    }
}

/// What is known of one group's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acc {
    pub events: u64,
    pub cells: Box<[Cell]>,
}

impl Acc {
    pub fn new(measures: &Measures) -> Self {
        Self { events: 0, cells: measures.cells.iter().map(Cell::new).collect() }
    }

    /// Takes one event in; `inputs` has one entry per cell.
    pub fn take(&mut self, inputs: &[Input], stamp: Stamp) {
        self.events += 1;
        for (cell, input) in self.cells.iter_mut().zip(inputs) {
            cell.take(input, stamp);
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        for (cell, other) in self.cells.iter_mut().zip(other.cells) {
            cell.merge(other);
        }
    }
}

impl Saved for Acc {
    fn save(&self, out: &mut Vec<u8>) {
        self.events.save(out);
        save_list(self.cells.iter(), out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { events: from.get()?, cells: from.get::<Vec<Cell>>()?.into() })
    }
}

impl Saved for Input {
    fn save(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => out.push(0),
            Self::Presence => out.push(1),
            Self::Number(number) => (2_u8, *number).save(out),
            Self::Hash(hash) => (3_u8, *hash).save(out),
            Self::Value(value) => {
                out.push(4);
                value.save(out);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.get::<u8>()? {
            0 => Self::Nothing,
            1 => Self::Presence,
            2 => Self::Number(from.get()?),
            3 => Self::Hash(from.get()?),
            4 => Self::Value(from.get()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
