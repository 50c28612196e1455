//! What of a definition the two stages can do. The rest is refused, with the reason: its state cannot be put together from
//! partial counts, or is not yet.

use crate::{
    Definition,
    definition::{DefinitionError, Window},
};

pub fn check(definition: &Definition) -> Result<(), DefinitionError> {
    let session = matches!(definition.window, Window::Session(_));
    let missing = [
        (
            "window",
            session,
            "sessions are not there on a remote cluster: they cannot be put together from partial counts",
        ),
        ("dedup", definition.dedup.is_some(), "is not there on a remote cluster: run it in Tifo's own broker"),
        ("limit", definition.limit.is_some(), "is not there on a remote cluster: run it in Tifo's own broker"),
        (
            "corrections",
            definition.corrections.is_some(),
            "are not there on a remote cluster: late events are in the late topic",
        ),
        ("begin", definition.begin.is_some(), "is not there on a remote cluster"),
        ("early", definition.early.is_some(), "rows are not there on a remote cluster"),
    ];
    match missing.into_iter().find(|(_, is_used, _)| *is_used) {
        Some((field, _, reason)) => {
            Err(DefinitionError { aggregate: definition.name.clone(), field, reason: reason.to_owned() })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Keep, Paths};
    use std::time::Duration;

    #[test]
    fn what_has_no_partial_counts_is_refused_by_name() {
        assert_eq!(check(&Definition::emoji()), Ok(()));
        let session = Definition { window: Window::Session(Duration::from_secs(1)), ..Definition::emoji() };
        assert_eq!(check(&session).map_err(|error| error.field), Err("window"));
        let early = Definition { early: Some(Duration::from_secs(1)), ..Definition::emoji() };
        assert_eq!(check(&early).map_err(|error| error.field), Err("early"));
        let by = serde_json::from_str::<Paths>("[\"user_id\"]");
        let dedup = by.ok().map(|by| crate::Dedup { by, keep: Keep::First });
        assert_eq!(check(&Definition { dedup, ..Definition::emoji() }).map_err(|error| error.field), Err("dedup"));
    }
}
