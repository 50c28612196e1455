//! One member of a classic group.

use super::Waiting;
use crate::{
    group::{JoinRequest, MemberId, Protocol},
    record::MemberMetadata,
};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    pub waiting: Waiting,
    /// No JoinGroup of it was ever answered with a generation.
    pub is_new: bool,
    /// The id was made up by the JoinGroup that is waiting, so that its client does not know it yet.
    pub id_is_secret: bool,
}

impl Member {
    pub fn new(id: MemberId, request: &JoinRequest) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            waiting: Waiting::default(),
            is_new: true,
            id_is_secret: request.member_id.is_empty(),
        }
    }

    /// Only the subscription in the chosen assignor's words was kept.
    pub fn from_metadata(metadata: &MemberMetadata, protocol: &str) -> Self {
        Self {
            id: metadata.member_id.as_str().into(),
            instance_id: metadata.instance_id.as_deref().map(Arc::from),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            session_timeout_ms: metadata.session_timeout_ms,
            rebalance_timeout_ms: metadata.rebalance_timeout_ms,
            protocols: vec![Protocol { name: protocol.into(), metadata: metadata.subscription.clone() }],
            assignment: metadata.assignment.clone(),
            waiting: Waiting::default(),
            is_new: false,
            id_is_secret: false,
        }
    }

    pub fn to_metadata(&self, protocol: &str) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.to_string(),
            instance_id: self.instance_id.as_deref().map(str::to_owned),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// The subscription in that assignor's words.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let offered = self.protocols.iter().find(|offered| offered.name.as_ref() == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    pub fn is_waiting(&self) -> bool {
        self.waiting.join.is_some() || self.waiting.sync.is_some()
    }
}
