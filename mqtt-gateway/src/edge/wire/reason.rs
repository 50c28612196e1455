//! Reason codes of MQTT 5 (2.4), and what a packet is refused for.

/// One byte; 3.1.1 clients see what it has instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    pub const SUCCESS: Self = Self(0);
    pub const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    pub const UNSPECIFIED: Self = Self(0x80);
    pub const MALFORMED: Self = Self(0x81);
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    pub const IMPLEMENTATION: Self = Self(0x83);
    pub const UNSUPPORTED_VERSION: Self = Self(0x84);
    pub const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8b);
    pub const BAD_AUTHENTICATION_METHOD: Self = Self(0x8c);
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8d);
    pub const SESSION_TAKEN_OVER: Self = Self(0x8e);
    pub const FILTER_INVALID: Self = Self(0x8f);
    pub const TOPIC_INVALID: Self = Self(0x90);
    pub const PACKET_ID_NOT_FOUND: Self = Self(0x92);
    pub const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    pub const ADMINISTRATIVE: Self = Self(0x98);
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
    pub const SERVER_MOVED: Self = Self(0x9d);

    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// CONNACK's return code in 3.1.1 (3.2.2.3).
    pub fn connack_3(self) -> u8 {
        match self {
            Self::SUCCESS => 0,
            Self::UNSUPPORTED_VERSION => 1,
            Self::CLIENT_ID_NOT_VALID => 2,
            Self::NOT_AUTHORIZED => 5,
            _ => 3,
        }
    }
}

/// Why bytes are no packet that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("malformed")]
    Malformed,
    #[error("packet_too_long")]
    TooLong,
    #[error("not_connect")]
    NotConnect,
    /// A protocol level that is neither 4 nor 5.
    #[error("protocol_level")]
    Level(u8),
    #[error("client_id")]
    ClientId,
    #[error("invalid_topic")]
    Topic,
    /// Well-formed, but no client's to send, or not now.
    #[error("unexpected_packet")]
    Unexpected,
}

impl Refusal {
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::MALFORMED,
            Self::TooLong => Reason::PACKET_TOO_LARGE,
            Self::Level(_) => Reason::UNSUPPORTED_VERSION,
            Self::ClientId => Reason::CLIENT_ID_NOT_VALID,
            Self::Topic => Reason::TOPIC_INVALID,
            Self::NotConnect | Self::Unexpected => Reason::PROTOCOL_ERROR,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "packet_too_long",
            Self::NotConnect => "not_connect",
            Self::Level(_) => "protocol_level",
            Self::ClientId => "client_id",
            Self::Topic => "invalid_topic",
            Self::Unexpected => "unexpected_packet",
        }
    }
}
