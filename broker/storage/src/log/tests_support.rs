//! A log as the server holds it: behind a lock, which the cleaner takes for moments.
#![allow(clippy::unwrap_used)]

use super::{Doomed, Log};
use crate::compaction::LogDoor;
use std::cell::{Cell, RefCell};

type Hook = Box<dyn FnMut(&mut Log)>;

pub(crate) struct LogUnderTest {
    log: RefCell<Option<Log>>,
    /// Questions that are answered with "go on".
    patience: Cell<usize>,
    entries: Cell<usize>,
    doomed: RefCell<Vec<Doomed>>,
    /// Called before each entry of the cleaner, with its number.
    hook: RefCell<Hook>,
}

impl LogUnderTest {
    pub fn new(log: Log) -> Self {
        Self {
            log: RefCell::new(Some(log)),
            patience: Cell::new(usize::MAX),
            entries: Cell::new(0),
            doomed: RefCell::default(),
            hook: RefCell::new(Box::new(|_| {})),
        }
    }

    /// Not the cleaner's way in: no hook is called.
    pub fn edit<T>(&self, act: impl FnOnce(&mut Log) -> T) -> T {
        act(self.log.borrow_mut().as_mut().unwrap())
    }

    pub fn into_log(self) -> Log {
        self.log.into_inner().unwrap()
    }

    /// What cleanings have replaced so far.
    pub fn take_doomed(&self) -> Vec<Doomed> {
        self.doomed.take()
    }

    pub fn abort_after(&self, questions: usize) {
        self.patience.set(questions);
    }

    pub fn on_every_entry(&self, hook: impl FnMut(&mut Log) + 'static) {
        *self.hook.borrow_mut() = Box::new(hook);
    }

    pub fn before_entry(&self, number: usize, mut hook: impl FnMut(&mut Log) + 'static) {
        let mut left = number;
        self.on_every_entry(move |log| {
            left = left.wrapping_sub(1);
            if left == 0 {
                hook(log);
            }
        });
    }

    pub fn reopen(&self, clean: bool, open: impl FnOnce() -> Log) {
        let log = self.log.borrow_mut().take().unwrap();
        if clean {
            log.close().unwrap();
        }
        *self.log.borrow_mut() = Some(open());
    }
}

impl LogDoor for LogUnderTest {
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T> {
        self.entries.set(self.entries.get() + 1);
        let mut log = self.log.borrow_mut();
        let log = log.as_mut()?;
        (self.hook.borrow_mut())(log);
        Some(act(log))
    }

    fn is_aborted(&self) -> bool {
        let left = self.patience.get();
        self.patience.set(left.saturating_sub(1));
        left == 0
    }

    fn doom(&self, doomed: Doomed) {
        self.doomed.borrow_mut().push(doomed);
    }
}

impl Log {
    /// As retention does it.
    pub(crate) fn forget_first_segment(&mut self) {
        self.sealed.remove(0);
        self.log_start_offset = self.sealed.first().unwrap_or(&self.active).base_offset();
    }
}
