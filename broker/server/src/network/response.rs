//! What goes back to a client: a list of parts, each either bytes in memory or a run of bytes in a segment file.
//!
//! File parts leave by sendfile, so records never pass through user space on their way out.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::ResponseHeader,
    protocol::{Encodable, HeaderVersion},
};
use tifo_storage::LogSlice;

/// Bytes of the size field in front of every frame.
const SIZE_BYTES: usize = 4;

/// One run of bytes of a response.
#[derive(Debug)]
pub enum Part {
    Bytes(Bytes),
    File(LogSlice),
}

/// A whole frame: size, response header and body.
#[derive(Debug)]
pub struct Response {
    pub parts: Vec<Part>,
}

/// A response that cannot be put into a frame: a mistake of ours.
#[derive(Debug, thiserror::Error)]
#[error("response does not encode: {0}")]
pub struct EncodeError(String);

impl EncodeError {
    pub fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl Response {
    /// Encodes a body that lies in memory.
    pub fn encode<R: Encodable + HeaderVersion>(
        body: &R,
        version: i16,
        correlation_id: i32,
    ) -> Result<Self, EncodeError> {
        let size = body.compute_size(version).map_err(|error| EncodeError(error.to_string()))?;
        let mut frame = FrameBuilder::start(R::header_version(version), correlation_id, size)?;
        body.encode(&mut frame.bytes, version).map_err(|error| EncodeError(error.to_string()))?;
        frame.seal()
    }
}

/// Builds a frame by hand; runs of files are spliced in where they belong.
#[derive(Debug)]
pub struct FrameBuilder {
    pub bytes: BytesMut,
    files: Vec<(usize, LogSlice)>,
}

impl FrameBuilder {
    /// Begins a frame: size (filled in by [`FrameBuilder::seal`]) and response header.
    pub fn start(header_version: i16, correlation_id: i32, size_hint: usize) -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::with_capacity(size_hint.saturating_add(16));
        bytes.put_bytes(0, SIZE_BYTES);
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        header.encode(&mut bytes, header_version).map_err(|error| EncodeError(error.to_string()))?;
        Ok(Self { bytes, files: Vec::new() })
    }

    /// The bytes of the slice come next.
    pub fn put_file(&mut self, slice: LogSlice) {
        self.files.push((self.bytes.len(), slice));
    }

    /// Writes the size and cuts the frame into parts.
    pub fn seal(mut self) -> Result<Response, EncodeError> {
        let in_files: usize = self.files.iter().map(|(_, slice)| slice.length).sum();
        let size = i32::try_from(self.bytes.len() - SIZE_BYTES + in_files)
            .map_err(|_| EncodeError("frame is larger than 2 GiB".into()))?;
        if let Some(head) = self.bytes.first_chunk_mut::<SIZE_BYTES>() {
            *head = size.to_be_bytes();
        }
        Ok(Response { parts: cut(self.bytes.freeze(), self.files) })
    }
}

fn cut(mut rest: Bytes, files: Vec<(usize, LogSlice)>) -> Vec<Part> {
    let mut parts = Vec::with_capacity(files.len() * 2 + 1);
    let mut done = 0;
    for (position, slice) in files {
        let before = rest.split_to(position - done);
        done = position;
        if !before.is_empty() {
            parts.push(Part::Bytes(before));
        }
        parts.push(Part::File(slice));
    }
    if !rest.is_empty() {
        parts.push(Part::Bytes(rest));
    }
    parts
}
