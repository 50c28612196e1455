//! What the server says besides messages, by rmqtt-codec, appended to a buffer.

use super::{Reason, Version};
use bytes::BytesMut;
use rmqtt_codec::{types::QoS, v3, v5};
use std::num::NonZeroU16;
use tokio_util::codec::Encoder;

/// Topic aliases that a client may use towards us.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 16;
/// QoS 1 and 2 messages of a client that are not yet answered.
pub const RECEIVE_MAXIMUM: u16 = 64;

/// Of a PUBACK around its reason string: two headers, packet id, reason, property, and their lengths.
const WORDS_OVERHEAD: usize = 16;
/// Longer words than that are not said.
const MAX_WORDS_PACKET: u32 = 4096;

/// CONNACK's contents.
#[derive(Debug, Clone, Copy)]
pub struct Welcome<'a> {
    pub session_present: bool,
    pub assigned_client_id: Option<&'a str>,
    /// Said when it is not what the client asked for.
    pub session_expiry_s: Option<u32>,
    pub max_packet_bytes: u32,
}

pub fn welcome(version: Version, welcome: Welcome<'_>, out: &mut BytesMut) {
    match version {
        Version::V3 => connack_3(welcome.session_present, 0, out),
        Version::V5 => {
            let ack = v5::ConnectAck {
                session_present: welcome.session_present,
                session_expiry_interval_secs: welcome.session_expiry_s,
                receive_max: NonZeroU16::new(RECEIVE_MAXIMUM).unwrap_or(NonZeroU16::MIN),
                max_packet_size: Some(welcome.max_packet_bytes),
                assigned_client_id: welcome.assigned_client_id.map(Into::into),
                topic_alias_max: TOPIC_ALIAS_MAXIMUM,
                ..v5::ConnectAck::default()
            };
            five(v5::Packet::ConnectAck(Box::new(ack)), out);
        }
    }
}

/// CONNACK of a refusal.
pub fn refused(version: Version, reason: Reason, out: &mut BytesMut) {
    match version {
        Version::V3 => connack_3(false, reason.connack_3(), out),
        Version::V5 => {
            let reason_code = reason.0.try_into().unwrap_or(v5::ConnectAckReason::UnspecifiedError);
            five(v5::Packet::ConnectAck(Box::new(v5::ConnectAck { reason_code, ..v5::ConnectAck::default() })), out);
        }
    }
}

/// `codes` are granted QoS or errors.
pub fn suback(version: Version, packet_id: u16, codes: &[u8], out: &mut BytesMut) {
    let Some(packet_id) = NonZeroU16::new(packet_id) else { return };
    match version {
        Version::V3 => {
            let status = |code: &u8| {
                QoS::try_from(*code).map_or(v3::SubscribeReturnCode::Failure, v3::SubscribeReturnCode::Success)
            };
            three(v3::Packet::SubscribeAck { packet_id, status: codes.iter().map(status).collect() }, out);
        }
        Version::V5 => {
            let status = |code: &u8| (*code).try_into().unwrap_or(v5::SubscribeAckReason::UnspecifiedError);
            let status = codes.iter().map(status).collect();
            five(
                v5::Packet::SubscribeAck(v5::SubscribeAck {
                    packet_id,
                    properties: vec![],
                    reason_string: None,
                    status,
                }),
                out,
            );
        }
    }
}

pub fn unsuback(version: Version, packet_id: u16, codes: &[Reason], out: &mut BytesMut) {
    let Some(packet_id) = NonZeroU16::new(packet_id) else { return };
    match version {
        Version::V3 => three(v3::Packet::UnsubscribeAck { packet_id }, out),
        Version::V5 => {
            let status = |code: &Reason| code.0.try_into().unwrap_or(v5::UnsubscribeAckReason::UnspecifiedError);
            let status = codes.iter().map(status).collect();
            five(
                v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                    packet_id,
                    properties: vec![],
                    reason_string: None,
                    status,
                }),
                out,
            );
        }
    }
}

/// PUBACK for QoS 1, PUBREC for QoS 2; 3.1.1 has no reason in it. The words are left out where the packet would be longer than
/// the client takes (3.4.2.2.2).
pub fn received(
    version: Version,
    (qos, packet_id): (u8, u16),
    (reason, why): (Reason, Option<&str>),
    max_bytes: u32,
    out: &mut BytesMut,
) {
    let Some(packet_id) = NonZeroU16::new(packet_id) else { return };
    match (version, qos) {
        (Version::V3, 1) => three(v3::Packet::PublishAck { packet_id }, out),
        (Version::V3, _) => three(v3::Packet::PublishReceived { packet_id }, out),
        (Version::V5, _) => {
            let reason_code = reason.0.try_into().unwrap_or(v5::PublishAckReason::UnspecifiedError);
            let fits = |why: &&str| {
                u32::try_from(why.len() + WORDS_OVERHEAD).is_ok_and(|bytes| bytes <= max_bytes.min(MAX_WORDS_PACKET))
            };
            let reason_string = why.filter(fits).map(Into::into);
            let ack = v5::PublishAck { packet_id, reason_code, reason_string, ..v5::PublishAck::default() };
            five(if qos == 1 { v5::Packet::PublishAck(ack) } else { v5::Packet::PublishReceived(ack) }, out);
        }
    }
}

/// PUBCOMP.
pub fn released(version: Version, packet_id: u16, reason: Reason, out: &mut BytesMut) {
    let Some(packet_id) = NonZeroU16::new(packet_id) else { return };
    match version {
        Version::V3 => three(v3::Packet::PublishComplete { packet_id }, out),
        Version::V5 => {
            let reason_code = reason.0.try_into().unwrap_or(v5::PublishAck2Reason::Success);
            let ack = v5::PublishAck2 { packet_id, reason_code, ..v5::PublishAck2::default() };
            five(v5::Packet::PublishComplete(ack), out);
        }
    }
}

pub fn pingresp(out: &mut BytesMut) {
    three(v3::Packet::PingResponse, out);
}

/// DISCONNECT; 3.1.1 has none for servers.
pub fn disconnect(version: Version, reason: Reason, server_reference: Option<&str>, out: &mut BytesMut) {
    if version == Version::V5 {
        let reason_code = reason.0.try_into().unwrap_or(v5::DisconnectReasonCode::UnspecifiedError);
        let server_reference = server_reference.map(Into::into);
        five(v5::Packet::Disconnect(v5::Disconnect { server_reference, ..v5::Disconnect::new(reason_code) }), out);
    }
}

fn connack_3(session_present: bool, code: u8, out: &mut BytesMut) {
    let return_code = code.try_into().unwrap_or(v3::ConnectAckReason::ServiceUnavailable);
    three(v3::Packet::ConnectAck(v3::ConnectAck { return_code, session_present }), out);
}

/// The codec refuses packets over 256 MiB only, which no answer is.
fn three(packet: v3::Packet, out: &mut BytesMut) {
    if let Err(error) = v3::Codec::default().encode(packet, out) {
        tracing::error!(%error, "an answer that cannot be encoded");
    }
}

fn five(packet: v5::Packet, out: &mut BytesMut) {
    if let Err(error) = v5::Codec::default().encode(packet, out) {
        tracing::error!(%error, "an answer that cannot be encoded");
    }
}
