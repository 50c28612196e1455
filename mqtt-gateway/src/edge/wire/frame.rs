//! Whole packets out of a stream of bytes, whatever the chunks that it comes in.
//!
//! What lies whole in the worker's read buffer is handed on from there; only the beginning of an incomplete packet is kept with
//! the connection, so that an idle connection has no buffer.

use super::Refusal;

/// Bytes of a remaining length (2.2.3).
const MAX_LENGTH_BYTES: usize = 4;

/// The length of the packet that `bytes` begin with; `None`: more bytes are needed to know it.
pub fn frame_length(bytes: &[u8], max_bytes: usize) -> Result<Option<usize>, Refusal> {
    let mut remaining = 0_usize;
    for index in 0..MAX_LENGTH_BYTES {
        let Some(byte) = bytes.get(1 + index) else { return Ok(None) };
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = remaining + index + 2;
            return if length <= max_bytes { Ok(Some(length)) } else { Err(Refusal::TooLong) };
        }
    }
    Err(Refusal::Malformed)
}

/// Who takes the packets.
pub trait Sink {
    type Error: From<Refusal>;

    /// Largest packet taken next.
    fn max_bytes(&self) -> usize;

    /// May a packet begin with this byte now? Asked before its length is known.
    fn may_begin(&self, first: u8) -> Result<(), Self::Error>;

    fn packet(&mut self, frame: &[u8]) -> Result<(), Self::Error>;

    /// `false`: no more packets for now; the rest is kept.
    fn is_open(&self) -> bool;
}

/// The bytes of a packet that is not whole yet; nothing, not even an allocation, between packets.
// The box keeps this one word in each of a quarter of a million connections.
#[allow(clippy::box_collection)]
#[derive(Debug, Default)]
pub struct Assembler(Option<Box<Vec<u8>>>);

impl Assembler {
    pub fn kept_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| kept.len())
    }

    /// Hands on every packet that `input` completes, in order, while the sink is open.
    pub fn feed<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<(), S::Error> {
        let Some(mut kept) = self.0.take() else {
            let taken = drain(input, sink)?;
            self.keep(input.get(taken..).unwrap_or_default());
            return Ok(());
        };
        kept.extend_from_slice(input);
        let taken = drain(&kept, sink)?;
        kept.drain(..taken);
        if !kept.is_empty() {
            self.0 = Some(kept);
        }
        Ok(())
    }

    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.0 = Some(Box::new(rest.to_vec()));
        }
    }
}

/// How many bytes of `input` were whole packets that the sink took.
fn drain<S: Sink>(input: &[u8], sink: &mut S) -> Result<usize, S::Error> {
    let mut taken = 0;
    while sink.is_open() {
        let rest = input.get(taken..).unwrap_or_default();
        let Some(first) = rest.first() else { break };
        sink.may_begin(*first)?;
        let Some(frame) = frame_length(rest, sink.max_bytes())?.and_then(|length| rest.get(..length)) else { break };
        sink.packet(frame)?;
        taken += frame.len();
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Frames(Vec<Vec<u8>>);

    impl Sink for Frames {
        type Error = Refusal;

        fn max_bytes(&self) -> usize {
            300
        }

        fn may_begin(&self, _: u8) -> Result<(), Refusal> {
            Ok(())
        }

        fn packet(&mut self, frame: &[u8]) -> Result<(), Refusal> {
            self.0.push(frame.to_vec());
            Ok(())
        }

        fn is_open(&self) -> bool {
            true
        }
    }

    #[test]
    fn frame_lengths() {
        let cases: [(&[u8], Result<_, Refusal>); 8] = [
            (&[], Ok(None)),
            (&[0x10], Ok(None)),
            (&[0x10, 0x80], Ok(None)),
            (&[0x10, 0x7f], Ok(Some(129))),
            (&[0x10, 0x80, 0x01], Ok(Some(131))),
            (&[0x10, 0xff, 0xff, 0xff, 0x7f], Err(Refusal::TooLong)),
            (&[0x10, 0xff, 0xff, 0xff, 0xff], Err(Refusal::Malformed)),
            (&[0x10, 0x80, 0x80, 0x80, 0x80, 0x01], Err(Refusal::Malformed)),
        ];
        for (frame, length) in cases {
            assert_eq!(frame_length(frame, 1024), length, "{frame:02x?}");
        }
    }

    proptest! {
        #[test]
        fn packets_and_refusals_do_not_depend_on_the_chunks(
            bodies in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
            tail in proptest::collection::vec(any::<u8>(), 0..8),
            cuts in proptest::collection::vec(1_usize..50, 1..40),
        ) {
            let mut stream = Vec::new();
            for (first, body) in &bodies {
                stream.push(*first);
                if body.len() >= 0x80 {
                    stream.push(u8::try_from(body.len() & 0x7f).unwrap() | 0x80);
                    stream.push(u8::try_from(body.len() >> 7).unwrap());
                } else {
                    stream.push(u8::try_from(body.len()).unwrap());
                }
                stream.extend(body);
            }
            stream.extend(tail);
            let mut whole = Frames::default();
            let at_once = Assembler::default().feed(&stream, &mut whole);
            let (mut chunked, mut assembler, mut rest, mut result) = (Frames::default(), Assembler::default(), &stream[..], Ok(()));
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() && result.is_ok() {
                let (chunk, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                result = assembler.feed(chunk, &mut chunked);
                rest = after;
            }
            prop_assert_eq!(at_once, result);
            prop_assert_eq!(whole.0, chunked.0);
        }
    }
}
