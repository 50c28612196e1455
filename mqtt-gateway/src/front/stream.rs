//! Bytes of a client: whole frames in, whole frames out, each with a bound and a deadline.

use super::packet::{self, Packet, Refusal};
use bytes::{Bytes, BytesMut};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

/// First size of a connection's read buffer; it grows to what a frame needs and no further.
const READ_CHUNK_BYTES: usize = 1_024;
/// Keep-alive is enforced at one and a half times its value (3.1.2.10).
const KEEP_ALIVE_GRACE_PERCENT: u64 = 150;

/// Why a connection ends. The text is the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    #[error("disconnect")]
    Disconnect,
    #[error("peer_closed")]
    PeerClosed,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("keep_alive")]
    KeepAlive,
    #[error("stalled")]
    Stalled,
    #[error("connect_timeout")]
    ConnectTimeout,
    #[error("client_id")]
    ClientId,
    #[error("publish_forbidden")]
    PublishForbidden,
    #[error("unordered_acknowledgement")]
    Acknowledgement,
    #[error("too_many_in_flight")]
    InFlight,
    #[error("too_many_topics")]
    Topics,
    #[error("taken_over")]
    TakenOver,
    #[error("hub_unavailable")]
    Hub,
    #[error("shutdown")]
    Shutdown,
}

/// The reading half.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

/// When the next frame must be there.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    pub max_bytes: usize,
    /// Until its first byte; `None`: any time.
    pub idle: Option<Duration>,
    /// From the first byte to the last.
    pub stall: Duration,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    pub fn peek_type(&self) -> Option<u8> {
        self.buffer.first().map(|first| first >> 4)
    }

    /// The next packet.
    pub async fn packet(&mut self, limits: ReadLimits) -> Result<Packet, Ending> {
        if self.buffer.is_empty() {
            self.first_bytes(limits.idle).await?;
        }
        let deadline = Instant::now() + limits.stall;
        loop {
            if let Some(length) = packet::frame_length(&self.buffer, limits.max_bytes)?
                && self.buffer.len() >= length
            {
                let frame = self.buffer.split_to(length).freeze();
                return Ok(packet::decode(&frame)?);
            }
            timeout_at(deadline, self.more()).await.map_err(|_| Ending::Stalled)??;
        }
    }

    /// Waits for a first byte only.
    pub async fn first_bytes(&mut self, idle: Option<Duration>) -> Result<(), Ending> {
        match idle {
            Some(idle) => timeout(idle, self.more()).await.map_err(|_| Ending::KeepAlive)?,
            None => self.more().await,
        }
    }

    async fn more(&mut self) -> Result<(), Ending> {
        self.buffer.reserve(READ_CHUNK_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Ending::PeerClosed),
            Ok(_) => Ok(()),
        }
    }
}

/// Time that a silent client has by its keep-alive; 0 is for ever.
pub fn idle_limit(keep_alive_s: u16) -> Option<Duration> {
    (keep_alive_s > 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 10 * KEEP_ALIVE_GRACE_PERCENT))
}

/// Writes all of `bytes`; a client that takes nothing for `stall` is given up.
pub async fn write_all<W: AsyncWrite + Unpin>(stream: &mut W, mut bytes: Bytes, stall: Duration) -> Result<(), Ending> {
    while !bytes.is_empty() {
        match timeout(stall, stream.write(&bytes)).await {
            Err(_) => return Err(Ending::Stalled),
            Ok(Ok(0) | Err(_)) => return Err(Ending::PeerClosed),
            Ok(Ok(written)) => drop(bytes.split_to(written)),
        }
    }
    match timeout(stall, stream.flush()).await {
        Err(_) => Err(Ending::Stalled),
        Ok(flushed) => flushed.map_err(|_: io::Error| Ending::PeerClosed),
    }
}
