//! Why a connection ends: the label of the metric, what an MQTT 5 client is told, and whether the will goes out.

use super::super::{
    websocket::Violation,
    wire::{Reason, Refusal},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client said so.
    Goodbye {
        publish_will: bool,
    },
    PeerClosed,
    Refused(Refusal),
    /// A CONNECT that we do not take; CONNACK has said why.
    NotWelcome(&'static str),
    ConnectTimeout,
    KeepAlive,
    Stalled,
    /// A client's message outside the allowed topics, or refused by who takes it.
    PublishForbidden(Reason),
    UnorderedAcknowledgement,
    ReceiveMaximum,
    TopicAlias,
    NoLocalShared,
    SessionExpiry,
    TakenOver,
    WebSocket(Violation),
    /// This node drains.
    Moved,
    Shutdown,
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Violation> for Ending {
    fn from(violation: Violation) -> Self {
        Self::WebSocket(violation)
    }
}

impl Ending {
    pub fn label(self) -> &'static str {
        match self {
            Self::Goodbye { .. } => "disconnect",
            Self::PeerClosed => "peer_closed",
            Self::Refused(refusal) => refusal.label(),
            Self::NotWelcome(label) => label,
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAlive => "keep_alive",
            Self::Stalled => "stalled",
            Self::PublishForbidden(_) => "publish_forbidden",
            Self::UnorderedAcknowledgement => "unordered_acknowledgement",
            Self::ReceiveMaximum => "too_many_in_flight",
            Self::TopicAlias => "topic_alias",
            Self::NoLocalShared => "no_local_shared",
            Self::SessionExpiry => "session_expiry",
            Self::TakenOver => "taken_over",
            Self::WebSocket(_) => "websocket",
            Self::Moved => "moved",
            Self::Shutdown => "shutdown",
        }
    }

    /// DISCONNECT's reason; `None`: there is nobody to tell.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Goodbye { .. }
            | Self::PeerClosed
            | Self::NotWelcome(_)
            | Self::ConnectTimeout
            | Self::WebSocket(_) => None,
            Self::Refused(refusal) => Some(refusal.reason()),
            Self::KeepAlive => Some(Reason::KEEP_ALIVE_TIMEOUT),
            Self::Stalled => Some(Reason::QUOTA_EXCEEDED),
            Self::PublishForbidden(reason) => Some(reason),
            Self::UnorderedAcknowledgement | Self::NoLocalShared | Self::SessionExpiry => Some(Reason::PROTOCOL_ERROR),
            Self::ReceiveMaximum => Some(Reason::RECEIVE_MAXIMUM_EXCEEDED),
            Self::TopicAlias => Some(Reason::TOPIC_ALIAS_INVALID),
            Self::TakenOver => Some(Reason::SESSION_TAKEN_OVER),
            Self::Moved => Some(Reason::SERVER_MOVED),
            Self::Shutdown => Some(Reason::SERVER_SHUTTING_DOWN),
        }
    }

    /// 3.1.2.5: unless the client said goodbye, or we do.
    pub fn publishes_will(self) -> bool {
        !matches!(self, Self::Goodbye { publish_will: false } | Self::Moved | Self::Shutdown)
    }
}
