//! The first packet: CONNECT in time, of a size, of a level and from a client that we take; else the refusal that 3.1.1 has for it.

use super::{
    Shared,
    packet::{self, Connect, Packet, Refusal, return_code},
    stream::{Ending, FrameReader, ReadLimits, write_all},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// The packet type of CONNECT.
const CONNECT: u8 = 1;

/// A client that may come in, its id never empty.
pub async fn accept<R, W>(reader: &mut FrameReader<R>, writer: &mut W, shared: &Shared) -> Result<Connect, Ending>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let deadline = shared.limits.connect_timeout();
    let first = timeout(deadline, first_packet(reader, shared)).await.map_err(|_| Ending::ConnectTimeout)?;
    let mut connect = match first {
        Ok(connect) => connect,
        Err(Ending::Refused(Refusal::Level(level))) => {
            return refuse(writer, shared, packet::connack_for_level(level), Refusal::Level(level).into()).await;
        }
        Err(ending) => return Err(ending),
    };
    let empty_and_kept = connect.client_id.is_empty() && !connect.clean_session;
    if empty_and_kept || connect.client_id.len() > shared.limits.max_client_id_bytes {
        let connack = packet::connack(false, return_code::IDENTIFIER_REJECTED);
        return refuse(writer, shared, connack, Ending::ClientId).await;
    }
    if connect.will.as_ref().is_some_and(|will| !may_publish(&will.topic, shared)) {
        let connack = packet::connack(false, return_code::NOT_AUTHORIZED);
        return refuse(writer, shared, connack, Ending::PublishForbidden).await;
    }
    if connect.client_id.is_empty() {
        connect.client_id = format!("auto-{}", uuid::Uuid::new_v4().simple());
    }
    Ok(connect)
}

/// Whether clients may publish to `topic`.
pub fn may_publish(topic: &Bytes, shared: &Shared) -> bool {
    shared.publish_prefixes.iter().any(|prefix| topic.starts_with(prefix.as_bytes()))
}

async fn first_packet<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>, shared: &Shared) -> Result<Connect, Ending> {
    reader.first_bytes(None).await?;
    // Whoever begins otherwise speaks something else: no need to wait for what its bytes claim.
    if reader.peek_type() != Some(CONNECT) {
        return Err(Refusal::NotConnect.into());
    }
    let stall = shared.limits.connect_timeout();
    let limits = ReadLimits { max_bytes: shared.limits.max_connect_bytes, idle: None, stall };
    match reader.packet(limits).await? {
        Packet::Connect(connect) => Ok(connect),
        _ => Err(Refusal::NotConnect.into()),
    }
}

async fn refuse<W, T>(writer: &mut W, shared: &Shared, connack: Bytes, ending: Ending) -> Result<T, Ending>
where
    W: AsyncWrite + Unpin,
{
    let _ = write_all(writer, connack, shared.limits.connect_timeout()).await;
    Err(ending)
}
