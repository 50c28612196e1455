//! One measure's accumulator.

use super::{CellPlan, Decimal, Distinct, Fastest, Input, Stamp};
use crate::{
    definition::Function,
    snapshot::{Reader, Saved},
};

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Count(u64),
    Sum(Decimal),
    Least(Option<Decimal>),
    Greatest(Option<Decimal>),
    Mean { sum: Decimal, count: u64 },
    Distinct(Distinct),
    Fastest(Fastest),
}

impl Cell {
    pub fn new(plan: &CellPlan) -> Self {
        match &plan.function {
            Function::Count | Function::Share(_) => Self::Count(0),
            Function::Sum(_) => Self::Sum(Decimal::default()),
            Function::Min(_) => Self::Least(None),
            Function::Max(_) => Self::Greatest(None),
            Function::Avg(_) => Self::Mean { sum: Decimal::default(), count: 0 },
            Function::Distinct(_) => Self::Distinct(Distinct::new(plan.max_distinct)),
            Function::Fastest { n, .. } => Self::Fastest(Fastest::new(*n)),
        }
    }

    pub fn take(&mut self, input: &Input, stamp: Stamp) {
        match (self, input) {
            (_, Input::Nothing) => {}
            (Self::Count(count), _) => *count += 1,
            (Self::Sum(sum), Input::Number(number)) => *sum = sum.plus(*number),
            (Self::Least(least), Input::Number(number)) => {
                *least = Some(least.map_or(*number, |least| least.min(*number)))
            }
            (Self::Greatest(greatest), Input::Number(number)) => *greatest = (*greatest).max(Some(*number)),
            (Self::Mean { sum, count }, Input::Number(number)) => (*sum, *count) = (sum.plus(*number), *count + 1),
            (Self::Distinct(distinct), Input::Hash(hash)) => distinct.insert(*hash),
            (Self::Fastest(fastest), input) => fastest.take(input, stamp),
            // `event` reads inputs by the same plan that made the cells.
            _ => debug_assert!(false, "an input of another measure"),
        }
    }

    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(count), Self::Count(other)) => *count += other,
            (Self::Sum(sum), Self::Sum(other)) => *sum = sum.plus(other),
            (Self::Least(least), Self::Least(other)) => *least = least.iter().chain(&other).min().copied(),
            (Self::Greatest(greatest), Self::Greatest(other)) => *greatest = (*greatest).max(other),
            (Self::Mean { sum, count }, Self::Mean { sum: more, count: others }) => {
                (*sum, *count) = (sum.plus(more), *count + others);
            }
            (Self::Distinct(distinct), Self::Distinct(other)) => distinct.merge(other),
            (Self::Fastest(fastest), Self::Fastest(other)) => fastest.merge(other),
            _ => debug_assert!(false, "cells of different measures"),
        }
    }
}

impl Saved for Cell {
    fn save(&self, out: &mut Vec<u8>) {
        match self {
            Self::Count(count) => (0_u8, *count).save(out),
            Self::Sum(sum) => (1_u8, *sum).save(out),
            Self::Least(least) => (2_u8, *least).save(out),
            Self::Greatest(greatest) => (3_u8, *greatest).save(out),
            Self::Mean { sum, count } => (4_u8, (*sum, *count)).save(out),
            Self::Distinct(distinct) => {
                out.push(5);
                distinct.save(out);
            }
            Self::Fastest(fastest) => {
                out.push(6);
                fastest.save(out);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.get::<u8>()? {
            0 => Self::Count(from.get()?),
            1 => Self::Sum(from.get()?),
            2 => Self::Least(from.get()?),
            3 => Self::Greatest(from.get()?),
            4 => Self::Mean { sum: from.get()?, count: from.get()? },
            5 => Self::Distinct(from.get()?),
            6 => Self::Fastest(from.get()?),
            _ => return None,
        })
    }
}
