//! Bytes between one socket and memory or files: the only place that reads and writes sockets.
//!
//! The read buffer grows with what has really arrived, and at most [`MAX_ADVANCE_BYTES`] beyond it: further a length on the wire is
//! not believed. Between frames an idle connection holds no buffer at all.

use super::response::{Part, Response};
use bytes::{Buf, Bytes, BytesMut};
use std::{io, task::Poll};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::TcpStream,
};

/// Room that is made for one read.
const READ_CHUNK_BYTES: usize = 64 * 1024;
/// Room that is made for the rest of a frame because its size says so. It is not touched, and so takes no memory, before bytes are there.
const MAX_ADVANCE_BYTES: usize = 1024 * 1024;

/// A frame that the connection does not survive.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("frame of {size} bytes, socket.request.max.bytes is {limit}")]
    TooLarge { size: i64, limit: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A plain-text TCP connection.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
    received: BytesMut,
    max_frame_bytes: usize,
}

impl Transport {
    pub fn new(stream: TcpStream, max_frame_bytes: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new(), max_frame_bytes })
    }

    /// The next whole frame without its size; None at the end of the stream. Cancel safe: what has arrived is kept.
    pub async fn read_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            // No buffer is held before there is something to read into it.
            self.stream.readable().await?;
            self.received.reserve(READ_CHUNK_BYTES + self.missing_bytes().min(MAX_ADVANCE_BYTES));
            match self.read_at_once().await? {
                Poll::Ready(0) => return Ok(None),
                Poll::Ready(_) => {}
                Poll::Pending => self.release_if_empty(),
            }
        }
    }

    /// Reads what is there, without waiting. A read that leaves room in the buffer has emptied the socket: the runtime
    /// then waits for more instead of trying again in vain, which saves a system call a request.
    async fn read_at_once(&mut self) -> io::Result<Poll<usize>> {
        let read = std::pin::pin!(self.stream.read_buf(&mut self.received));
        match futures::poll!(read) {
            Poll::Ready(count) => Ok(Poll::Ready(count?)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Whether bytes of the next frame are here already.
    pub fn has_received_more(&self) -> bool {
        !self.received.is_empty()
    }

    /// What has not arrived of the frame that has begun. Taken in few reads, and without moving what is there as the buffer grows.
    fn missing_bytes(&self) -> usize {
        let claimed = self.received.first_chunk::<4>().map_or(0, |head| i32::from_be_bytes(*head));
        usize::try_from(claimed).unwrap_or(0).saturating_sub(self.received.len())
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.received.first_chunk::<4>() else { return Ok(None) };
        let claimed = i32::from_be_bytes(*head);
        let size = usize::try_from(claimed).ok().filter(|size| *size <= self.max_frame_bytes);
        let size = size.ok_or(FrameError::TooLarge { size: claimed.into(), limit: self.max_frame_bytes })?;
        if self.received.len() - head.len() < size {
            return Ok(None);
        }
        self.received.advance(4);
        let frame = self.received.split_to(size).freeze();
        self.release_if_empty();
        Ok(Some(frame))
    }

    fn release_if_empty(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
    }

    /// Writes a whole response.
    pub async fn write(&self, response: Response) -> io::Result<()> {
        let count = response.parts.len();
        for (index, part) in response.parts.into_iter().enumerate() {
            match part {
                Part::Bytes(bytes) => self.write_bytes(bytes, index + 1 < count).await?,
                Part::File(slice) => match slice.file() {
                    Some(file) => self.write_file(file, slice.position, slice.length).await?,
                    None => self.write_bytes(slice.read().map_err(io::Error::other)?, index + 1 < count).await?,
                },
            }
        }
        Ok(())
    }

    /// `more`: another part follows, so the kernel may hold back a short packet.
    async fn write_bytes(&self, mut bytes: Bytes, more: bool) -> io::Result<()> {
        let mut flags = rustix::net::SendFlags::NOSIGNAL;
        flags.set(rustix::net::SendFlags::MORE, more);
        while !bytes.is_empty() {
            let send = || rustix::net::send(&self.stream, &bytes, flags).map_err(io::Error::from);
            let sent = self.stream.async_io(Interest::WRITABLE, send).await?;
            bytes.advance(sent);
        }
        Ok(())
    }

    /// From file to socket inside the kernel.
    async fn write_file(&self, file: &std::fs::File, position: u64, length: usize) -> io::Result<()> {
        let mut position = position;
        let mut left = length;
        while left > 0 {
            let send = || rustix::fs::sendfile(&self.stream, file, Some(&mut position), left).map_err(io::Error::from);
            let sent = self.stream.async_io(Interest::WRITABLE, send).await?;
            if sent == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "segment file is shorter than its index says",
                ));
            }
            left -= sent;
        }
        Ok(())
    }
}
