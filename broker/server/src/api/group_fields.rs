//! Fields that all group APIs have in common, between the wire's types and the coordinator's.

use super::Context;
use crate::groups::Who;
use kafka_protocol::{messages::GroupId, protocol::StrBytes};
use std::sync::Arc;

pub fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(&**text)
}

pub fn group(id: &GroupId) -> Arc<str> {
    shared(&id.0)
}

pub fn instance(id: Option<&StrBytes>) -> Option<Arc<str>> {
    id.map(shared)
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn optional(given: Option<&str>) -> Option<StrBytes> {
    given.map(text)
}

impl From<&Context> for Who {
    fn from(context: &Context) -> Self {
        let client_id = context.client_id.as_deref().unwrap_or_default().to_owned();
        Self { client_id, host: context.peer.ip().to_canonical() }
    }
}
