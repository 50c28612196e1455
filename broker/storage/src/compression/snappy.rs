//! Snappy, bare (librdkafka, Go) and in the xerial framing that Java clients write:
//! `82 "SNAPPY" 00`, version and oldest readable version (i32 each), then blocks of length (i32) and bare snappy.

use super::{malformed, over};
use crate::record_batch::BatchError;
use std::io;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: [u8; 4] = 1i32.to_be_bytes();
const FRAME_HEADER: usize = 16;
/// What xerial's stream compresses at a time.
const BLOCK_BYTES: usize = 32 * 1024;
/// No snappy element gives more than 64 bytes for 2: a claim beyond that is a lie, not to be allocated for.
const MAX_RATIO: usize = 32;

pub(super) fn decompress(input: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    if !input.starts_with(&MAGIC) {
        return block(input, cap, out);
    }
    let mut rest = input.get(FRAME_HEADER..).ok_or_else(|| malformed("the snappy frame is cut off"))?;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(malformed)?;
        let (compressed, tail) = tail.split_at_checked(length).ok_or_else(|| malformed("a snappy block is cut off"))?;
        block(compressed, cap, out)?;
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(malformed("bytes behind the last snappy block")) }
}

/// One bare block, appended to `out`.
fn block(input: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let length = snap::raw::decompress_len(input).map_err(malformed)?;
    if length > cap.saturating_sub(out.len()) {
        return Err(over(cap));
    }
    if length > input.len().saturating_mul(MAX_RATIO) {
        return Err(malformed("a snappy block claims an impossible length"));
    }
    let start = out.len();
    out.resize(start + length, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(input, target).map_err(malformed)?;
    Ok(())
}

pub(super) fn compress(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(FRAME_HEADER + input.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION);
    out.extend_from_slice(&VERSION);
    let mut encoder = snap::raw::Encoder::new();
    for plain in input.chunks(BLOCK_BYTES) {
        let compressed = encoder.compress_vec(plain).map_err(io::Error::other)?;
        let length = i32::try_from(compressed.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}
