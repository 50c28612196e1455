//! The four codecs, in the framings that Java clients write and read, each capped.
//!
//! Decompression never gives (nor allocates for its output) more than the caller's cap, whatever the input claims;
//! a codec's own working memory is bounded too (zstd by its window, lz4 by its block size).

use crate::record_batch::BatchError;
use flate2::{read::MultiGzDecoder, write::GzEncoder};
use std::io::{self, Read, Write};

mod snappy;

/// `attributes & 7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The first step of an output buffer; it doubles from there up to the cap.
const FIRST_OUTPUT_BYTES: usize = 16 * 1024;
/// What a zstd window may take, as a power of two, however small or large the cap: 8 MiB (any writer's, up to level 19) and
/// 128 MiB (the highest level's).
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

impl Compression {
    pub(crate) fn from_id(id: i16) -> Result<Self, BatchError> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BatchError::new(format!("compression codec {other} is not known"))),
        }
    }

    pub(crate) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// What the codec of that number makes of bytes that are no records; an error as soon as it would exceed `cap`.
pub fn unpack(codec: i16, input: &[u8], cap: usize) -> Result<Vec<u8>, BatchError> {
    decompress(Compression::from_id(codec)?, input, cap)
}

/// The plain bytes; an error as soon as they would exceed `cap`.
pub(crate) fn decompress(compression: Compression, input: &[u8], cap: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    decompress_into(compression, input, cap, &mut out)?;
    Ok(out)
}

/// The plain bytes in place of what `out` held; whoever keeps `out` saves the allocation. After an error it holds nothing of use.
pub(crate) fn decompress_into(
    compression: Compression,
    input: &[u8],
    cap: usize,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    out.clear();
    match compression {
        Compression::None => capped_copy(input, cap, out),
        Compression::Gzip => read_capped(MultiGzDecoder::new(input), cap, out),
        Compression::Snappy => snappy::decompress(input, cap, out),
        Compression::Lz4 => read_capped(lz4_flex::frame::FrameDecoder::new(input), cap, out),
        Compression::Zstd => read_capped(zstd_decoder(input, cap).map_err(malformed)?, cap, out),
    }
}

/// The compressed bytes; None if the codec is `None`. Without a level, or with one that the codec does not have, its default.
/// (Lz4 has its fast compressor at every level.)
pub(crate) fn compress(compression: Compression, level: Option<i32>, input: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Ok(Some(match compression {
        Compression::None => return Ok(None),
        Compression::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).filter(|level| (1..=9).contains(level));
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(input)?;
            encoder.finish()?
        }
        Compression::Snappy => snappy::compress(input)?,
        Compression::Lz4 => lz4(input)?,
        Compression::Zstd => zstd::bulk::compress(input, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?,
    }))
}

/// Independent blocks: Java's reader knows no linked ones.
fn lz4(input: &[u8]) -> io::Result<Vec<u8>> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::other)
}

fn zstd_decoder(input: &[u8], cap: usize) -> io::Result<zstd::stream::read::Decoder<'_, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    let log = usize::BITS - cap.leading_zeros();
    decoder.window_log_max(log.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end()))?;
    Ok(decoder)
}

fn capped_copy(input: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    if input.len() > cap {
        return Err(over(cap));
    }
    out.extend_from_slice(input);
    Ok(())
}

/// Reads to the end; grows by doubling, but never past the cap.
fn read_capped(mut reader: impl Read, cap: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let mut filled = 0;
    loop {
        if filled == out.len() {
            if filled == cap {
                return end_or_over(reader, cap);
            }
            let length = (filled * 2).max(FIRST_OUTPUT_BYTES).min(cap);
            out.reserve_exact(length.saturating_sub(filled));
            out.resize(length, 0);
        }
        match reader.read(out.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(malformed(error)),
        }
    }
    out.truncate(filled);
    Ok(())
}

fn end_or_over(mut reader: impl Read, cap: usize) -> Result<(), BatchError> {
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(over(cap)),
        Err(error) => Err(malformed(error)),
    }
}

fn over(cap: usize) -> BatchError {
    BatchError::new(format!("records decompress to more than {cap} bytes"))
}

fn malformed(error: impl std::fmt::Display) -> BatchError {
    BatchError::new(format!("compressed records are malformed: {error}"))
}
