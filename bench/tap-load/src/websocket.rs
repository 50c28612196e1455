//! The least WebSocket client (RFC 6455): the upgrade, one masked frame a packet out, frames of a server taken apart.

use std::io::{Error, Read, Result, Write};

const MAX_HEAD: usize = 8 << 10;
const BINARY: u8 = 0x82;

/// Asks for MQTT over WebSocket; the key is the one of the RFC's example.
pub fn upgrade(stream: &mut (impl Read + Write), host: &str) -> Result<()> {
    write!(
        stream,
        "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let upgraded = head.starts_with(b"HTTP/1.1 101");
    if upgraded { Ok(()) } else { Err(Error::other(String::from_utf8_lossy(&head).into_owned())) }
}

/// A binary frame whose mask is zeros, which leaves the bytes as they are. Packets of this client are shorter than 126 bytes.
pub fn masked(packet: &[u8]) -> Vec<u8> {
    let length = u8::try_from(packet.len()).unwrap_or(125).min(125);
    [&[BINARY, 0x80 | length, 0, 0, 0, 0], packet].concat()
}

/// The payloads of a server's frames, as one stream.
pub struct Frames<R> {
    pub inner: R,
    pub left: u64,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        while self.left == 0 {
            self.left = self.next_frame()?;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(to.len());
        let got = self.inner.read(&mut to[..most])?;
        self.left -= got as u64;
        Ok(got)
    }
}

impl<R: Read> Frames<R> {
    /// How long the next frame of data is; what is said about the connection itself is passed over.
    fn next_frame(&mut self) -> Result<u64> {
        let mut head = [0; 2];
        self.inner.read_exact(&mut head)?;
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short => u64::from(short),
        };
        if head[0] & 0x0f < 8 {
            return Ok(length);
        }
        std::io::copy(&mut self.inner.by_ref().take(length), &mut std::io::sink())?;
        Ok(0)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
