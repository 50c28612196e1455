//! A stage as a thread: joins its group, works, and after a failure joins anew, each time later.

use super::{Around, counting::Counting, merging::Merging};
use crate::{AggregatorError, status::State};
use bytes::Bytes;
use std::{io, thread, time::Duration};
use tifo_broker::client::{Member, MemberSpec, Output};
use tifo_storage::record_batch::batches;

/// Between two tries, the first and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often a wait looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What rows or side records of one batch may take.
const MAX_BATCH_BYTES: usize = usize::MAX;

/// Starts both stages of an aggregate.
pub fn start(around: Around) -> io::Result<[thread::JoinHandle<()>; 2]> {
    let counting = around.clone();
    let count = move || {
        supervise(&counting, "count", &Counting::spec(&counting), |around, member| {
            let mut stage = Counting::new(around.clone());
            while !around.stop.is_cancelled() {
                stage.step(member)?;
            }
            Ok(())
        });
    };
    let merge = move || {
        supervise(&around, "merge", &Merging::spec(&around), |around, member| {
            let mut stage = Merging::new(around.clone());
            while !around.stop.is_cancelled() {
                stage.step(member)?;
            }
            Ok(())
        });
    };
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    Ok([named("tifo-count").spawn(count)?, named("tifo-merge").spawn(merge)?])
}

fn supervise(
    around: &Around,
    stage: &str,
    spec: &MemberSpec,
    work: impl Fn(&Around, &mut dyn Member) -> Result<(), AggregatorError>,
) {
    let mut pause = BACK_OFF.0;
    while !around.stop.is_cancelled() {
        let joined = around.members.join(spec).map_err(AggregatorError::from);
        let began = std::time::Instant::now();
        let Err(error) = joined.and_then(|mut member| work(around, &mut *member)) else { continue };
        // What ran for a while is a new failure.
        pause = if began.elapsed() > BACK_OFF.1 { BACK_OFF.0 } else { (pause * 2).min(BACK_OFF.1) };
        tracing::error!(aggregate = around.definition.name, stage, %error, "a stage begins anew");
        around.status.update(|status| (status.state, status.error) = (State::Failed, Some(error.to_string())));
        wait(around, pause);
    }
    around.status.update(|status| status.state = State::Stopped);
}

fn wait(around: &Around, pause: Duration) {
    let end = std::time::Instant::now() + pause;
    while !around.stop.is_cancelled() && std::time::Instant::now() < end {
        thread::sleep(LOOK_EVERY);
    }
}

/// A batch's records, one by one: the cluster's client makes batches of its own.
pub fn outputs(topic: &str, batch: Bytes) -> Vec<Output> {
    let batches = batches(batch).filter_map(Result::ok);
    let records = batches.filter_map(|batch| batch.records(MAX_BATCH_BYTES).ok()).flatten();
    records.map(|record| Output { topic: topic.to_owned(), partition: 0, record }).collect()
}
