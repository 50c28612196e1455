//! From a checked frame to a [`Packet`], by rmqtt-codec.

use super::{Connect, Goodbye, NEVER_EXPIRES, Options, Packet, Properties, Publish, Refusal, Version, Will, check};
use bytes::BytesMut;
use rmqtt_codec::{error::DecodeError, types, v3, v5};
use std::num::NonZeroU16;
use tokio_util::codec::Decoder;

/// What MQTT 5 assumes when the client does not say it, and 3.1.1 always (3.1.2.11.3).
const RECEIVE_MAXIMUM_DEFAULT: u16 = u16::MAX;

/// The first packet of a connection.
pub fn connect(frame: &[u8]) -> Result<Box<Connect>, Refusal> {
    let connect = match check::connect(frame)? {
        Version::V3 => match by_codec(&mut v3::Codec::default(), frame)? {
            v3::Packet::Connect(connect) => connect_3(*connect),
            _ => return Err(Refusal::NotConnect),
        },
        Version::V5 => match by_codec(&mut v5::Codec::default(), frame)? {
            v5::Packet::Connect(connect) => connect_5(*connect),
            _ => return Err(Refusal::NotConnect),
        },
    };
    Ok(Box::new(connect))
}

/// Any later packet.
pub fn packet(frame: &[u8], version: Version) -> Result<Packet, Refusal> {
    check::packet(frame, version)?;
    match version {
        Version::V3 => packet_3(by_codec(&mut v3::Codec::default(), frame)?),
        Version::V5 => packet_5(by_codec(&mut v5::Codec::default(), frame)?),
    }
}

fn by_codec<C, P>(codec: &mut C, frame: &[u8]) -> Result<P, Refusal>
where
    C: Decoder<Item = (P, u32), Error = DecodeError>,
{
    match codec.decode(&mut BytesMut::from(frame)) {
        Ok(Some((packet, _))) => Ok(packet),
        Err(DecodeError::InvalidClientId) => Err(Refusal::ClientId),
        Ok(None) | Err(_) => Err(Refusal::Malformed),
    }
}

fn connect_3(connect: v3::Connect) -> Connect {
    let will = connect.last_will.map(|will| Will {
        topic: will.topic.to_string(),
        payload: will.message,
        qos: will.qos.value(),
        retain: will.retain,
        delay_s: 0,
        properties: Box::default(),
    });
    Connect {
        version: Version::V3,
        client_id: connect.client_id.to_string(),
        clean_start: connect.clean_session,
        keep_alive_s: connect.keep_alive,
        session_expiry_s: if connect.clean_session { 0 } else { NEVER_EXPIRES },
        receive_maximum: RECEIVE_MAXIMUM_DEFAULT,
        max_packet_bytes: u32::MAX,
        topic_alias_maximum: 0,
        problem_information: false,
        authentication: false,
        will: will.map(Box::new),
    }
}

fn connect_5(connect: v5::Connect) -> Connect {
    let will = connect.last_will.map(|will| Will {
        topic: will.topic.to_string(),
        payload: will.message,
        qos: will.qos.value(),
        retain: will.retain,
        delay_s: will.will_delay_interval_sec.unwrap_or(0),
        properties: Box::new(Properties {
            correlation_data: will.correlation_data,
            message_expiry_interval: will.message_expiry_interval,
            content_type: will.content_type,
            user_properties: will.user_properties,
            is_utf8_payload: will.is_utf8_payload.unwrap_or(false),
            response_topic: will.response_topic,
            ..Properties::default()
        }),
    });
    Connect {
        version: Version::V5,
        client_id: connect.client_id.to_string(),
        clean_start: connect.clean_start,
        keep_alive_s: connect.keep_alive,
        session_expiry_s: connect.session_expiry_interval_secs,
        receive_maximum: connect.receive_max.map_or(RECEIVE_MAXIMUM_DEFAULT, NonZeroU16::get),
        max_packet_bytes: connect.max_packet_size.map_or(u32::MAX, std::num::NonZeroU32::get),
        topic_alias_maximum: connect.topic_alias_max,
        problem_information: connect.request_problem_info,
        authentication: connect.auth_method.is_some() || connect.auth_data.is_some(),
        will: will.map(Box::new),
    }
}

fn packet_3(packet: v3::Packet) -> Result<Packet, Refusal> {
    Ok(match packet {
        v3::Packet::Publish(message) => publish(*message)?,
        v3::Packet::PublishAck { packet_id } => Packet::PubAck(packet_id.get()),
        v3::Packet::PublishRelease { packet_id } => Packet::PubRel(packet_id.get()),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let filters =
                topic_filters.iter().map(|(filter, qos)| (filter.to_string(), Options(qos.value()))).collect();
            Packet::Subscribe { packet_id: packet_id.get(), id: 0, filters }
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            let filters = topic_filters.iter().map(ToString::to_string).collect();
            Packet::Unsubscribe { packet_id: packet_id.get(), filters }
        }
        v3::Packet::PingRequest => Packet::PingReq,
        v3::Packet::Disconnect => Packet::Disconnect(Goodbye { publish_will: false, session_expiry_s: None }),
        _ => return Err(Refusal::Unexpected),
    })
}

fn packet_5(packet: v5::Packet) -> Result<Packet, Refusal> {
    Ok(match packet {
        v5::Packet::Publish(message) => publish(*message)?,
        v5::Packet::PublishAck(ack) => Packet::PubAck(ack.packet_id.get()),
        v5::Packet::PublishRelease(release) => Packet::PubRel(release.packet_id.get()),
        v5::Packet::Subscribe(subscribe) => {
            let filters =
                subscribe.topic_filters.iter().map(|(filter, options)| (filter.to_string(), packed(*options)));
            let id = subscribe.id.map_or(0, std::num::NonZeroU32::get);
            Packet::Subscribe { packet_id: subscribe.packet_id.get(), id, filters: filters.collect() }
        }
        v5::Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.topic_filters.iter().map(ToString::to_string).collect();
            Packet::Unsubscribe { packet_id: unsubscribe.packet_id.get(), filters }
        }
        v5::Packet::PingRequest => Packet::PingReq,
        v5::Packet::Disconnect(goodbye) => Packet::Disconnect(Goodbye {
            // Only a normal disconnection deletes the will (3.14.4).
            publish_will: goodbye.reason_code != v5::DisconnectReasonCode::NormalDisconnection,
            session_expiry_s: goodbye.session_expiry_interval_secs,
        }),
        _ => return Err(Refusal::Unexpected),
    })
}

fn packed(options: v5::SubscriptionOptions) -> Options {
    let no_local = u8::from(options.no_local) << 2;
    let retain_as_published = u8::from(options.retain_as_published) << 3;
    Options(options.qos.value() | no_local | retain_as_published | u8::from(options.retain_handling) << 4)
}

fn publish(message: types::Publish) -> Result<Packet, Refusal> {
    let properties = message.properties.unwrap_or_default();
    // 3.3.4: a client must not send one.
    if !properties.subscription_ids.is_empty() {
        return Err(Refusal::Unexpected);
    }
    // 4.7: a response topic is a topic.
    if properties.response_topic.as_ref().is_some_and(|topic| topic.is_empty() || topic.contains(['+', '#'])) {
        return Err(Refusal::Topic);
    }
    let alias = properties.topic_alias.map_or(0, NonZeroU16::get);
    if message.topic.is_empty() && alias == 0 {
        return Err(Refusal::Topic);
    }
    Ok(Packet::Publish(Box::new(Publish {
        topic: message.topic.to_string(),
        payload: message.payload,
        retain: message.retain,
        qos: message.qos.value(),
        packet_id: message.packet_id.map_or(0, NonZeroU16::get),
        alias,
        properties: (properties != Properties::default()).then(|| Box::new(properties)),
    })))
}
