//! One member's way from what it has to what it is to have: first it gives up what is no longer its own, then it moves to the
//! target's epoch, and takes what others have given up.

use crate::{
    GroupError,
    assignment::Assignment,
    record::{MemberAssignment, MemberState, OwnedPartitions},
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Where the member is to go.
#[derive(Debug)]
pub struct Target<'a> {
    pub epoch: i32,
    pub partitions: &'a Assignment,
    /// Topics that it subscribes to: of others it gets nothing, whatever the target says.
    pub subscribed: &'a BTreeSet<Uuid>,
    /// What it says that it has; `None`: it did not say.
    pub owned: Option<&'a Assignment>,
    pub has_subscription_changed: bool,
}

impl Target<'_> {
    /// The next step. `is_free`: no other member holds the partition.
    pub fn reconcile(
        &self,
        current: &MemberAssignment,
        is_free: impl Fn((Uuid, i32)) -> bool,
    ) -> Result<MemberAssignment, GroupError> {
        match current.state {
            MemberState::Stable if current.epoch != self.epoch => Ok(self.next(current, is_free)),
            MemberState::Stable if self.has_subscription_changed => Ok(self.drop_unsubscribed(current)),
            MemberState::Stable => Ok(current.clone()),
            MemberState::UnrevokedPartitions if self.still_owns(&current.revoking) => {
                Ok(if self.has_subscription_changed { self.drop_unsubscribed(current) } else { current.clone() })
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => Ok(self.next(current, is_free)),
            MemberState::Unknown if self.owned.is_none_or(|owned| !owned.is_empty()) => {
                Err(GroupError::FencedMemberEpoch)
            }
            MemberState::Unknown => Ok(self.next(current, is_free)),
        }
    }

    /// Whether the member has not yet given up all of these. One that does not say what it has, has it all.
    fn still_owns(&self, partitions: &OwnedPartitions) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(topic, owned)| {
            partitions.get(topic).is_some_and(|revoking| owned.iter().any(|partition| revoking.contains_key(partition)))
        })
    }

    fn next(&self, current: &MemberAssignment, is_free: impl Fn((Uuid, i32)) -> bool) -> MemberAssignment {
        let is_target = |topic: Uuid, partition: i32| {
            self.subscribed.contains(&topic)
                && self.partitions.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
        };
        let (mut assigned, revoking) = split(&current.assigned, is_target);
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return MemberAssignment {
                state: MemberState::UnrevokedPartitions,
                assigned,
                revoking,
                ..at_epoch(current, current.epoch)
            };
        }
        let mut waits = false;
        for (topic, partitions) in self.partitions.iter().filter(|(topic, _)| self.subscribed.contains(topic)) {
            for partition in partitions {
                if assigned.get(topic).is_some_and(|owned| owned.contains_key(partition)) {
                    continue;
                }
                if is_free((*topic, *partition)) {
                    assigned.entry(*topic).or_default().insert(*partition, self.epoch);
                } else {
                    waits = true;
                }
            }
        }
        let state = if waits { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        MemberAssignment { state, assigned, revoking: OwnedPartitions::new(), ..at_epoch(current, self.epoch) }
    }

    /// What the member no longer subscribes to is taken from it at once; nothing is added.
    fn drop_unsubscribed(&self, current: &MemberAssignment) -> MemberAssignment {
        let (assigned, dropped) = split(&current.assigned, |topic, _| self.subscribed.contains(&topic));
        if dropped.is_empty() {
            return current.clone();
        }
        let mut revoking = current.revoking.clone();
        for (topic, partitions) in dropped {
            revoking.entry(topic).or_default().extend(partitions);
        }
        if self.still_owns(&revoking) {
            let state = MemberState::UnrevokedPartitions;
            return MemberAssignment { state, assigned, revoking, ..at_epoch(current, current.epoch) };
        }
        MemberAssignment { assigned, ..at_epoch(current, current.epoch) }
    }
}

fn at_epoch(current: &MemberAssignment, epoch: i32) -> MemberAssignment {
    MemberAssignment { epoch, previous_epoch: current.epoch, ..current.clone() }
}

/// What `keep` keeps, and the rest.
fn split(owned: &OwnedPartitions, keep: impl Fn(Uuid, i32) -> bool) -> (OwnedPartitions, OwnedPartitions) {
    let (mut kept, mut rest) = (OwnedPartitions::new(), OwnedPartitions::new());
    for (topic, partitions) in owned {
        for (partition, since) in partitions {
            let side = if keep(*topic, *partition) { &mut kept } else { &mut rest };
            side.entry(*topic).or_insert_with(BTreeMap::new).insert(*partition, *since);
        }
    }
    (kept, rest)
}
