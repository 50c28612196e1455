//! The shape of each packet: every length within the packet, flags and strings as the specification wants them, nothing left
//! over. Comes before the codec, which is lax in places (docs/mqtt.md lists them).
//!
//! Section numbers are those of MQTT 5; 3.1.1 has the same shapes without properties.

use super::{Refusal, Version};

/// CONNECT's own version; the shape of the rest follows from it.
pub fn connect(frame: &[u8]) -> Result<Version, Refusal> {
    let mut body = Cursor::body(frame)?;
    if frame.first() != Some(&0x10) {
        return Err(if frame.first().is_some_and(|first| first >> 4 == 1) {
            Refusal::Malformed
        } else {
            Refusal::NotConnect
        });
    }
    let name = body.string()?;
    let level = body.byte()?;
    let version = match (name, level) {
        ("MQTT", 4) => Version::V3,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", level) => return Err(Refusal::Level(level)),
        _ => return Err(Refusal::Malformed),
    };
    let flags = body.byte()?;
    let (user_name, password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    let (will, will_qos, will_retain) = (flags & 0x04 != 0, flags >> 3 & 0b11, flags & 0x20 != 0);
    let unset_but_used = !will && (will_qos != 0 || will_retain);
    // 3.1.1 wants a user name with a password (3.1.2-22 there); MQTT 5 does not.
    let lone_password = version == Version::V3 && password && !user_name;
    if flags & 1 != 0 || will_qos == 3 || unset_but_used || lone_password {
        return Err(Refusal::Malformed);
    }
    body.u16()?;
    body.properties(version)?;
    body.string()?;
    if will {
        body.properties(version)?;
        topic(body.string()?)?;
        body.binary()?;
    }
    if user_name {
        body.string()?;
    }
    if password {
        body.binary()?;
    }
    body.end()?;
    Ok(version)
}

/// Any later packet.
pub fn packet(frame: &[u8], version: Version) -> Result<(), Refusal> {
    let mut body = Cursor::body(frame)?;
    let first = frame.first().copied().unwrap_or_default();
    match (first >> 4, first & 0x0f) {
        (1, 0) => return Err(Refusal::Unexpected),
        (3, flags) => return publish(&mut body, flags, version),
        (4, 0) | (6, 0b0010) => acknowledgement(&mut body, version)?,
        (8, 0b0010) => {
            body.packet_id()?;
            body.properties(version)?;
            body.all(|body| subscription(body, version))?;
        }
        (10, 0b0010) => {
            body.packet_id()?;
            body.properties(version)?;
            body.all(|body| body.string().map(drop))?;
        }
        (12, 0) => {}
        (14, 0) => goodbye(&mut body, version)?,
        // PUBREC and PUBCOMP answer QoS 2, which is never granted; AUTH was not agreed; the rest is a server's.
        (2 | 5 | 7 | 9 | 11 | 13 | 15, _) => return Err(Refusal::Unexpected),
        _ => return Err(Refusal::Malformed),
    }
    body.end()
}

/// 3.3
fn publish(body: &mut Cursor<'_>, flags: u8, version: Version) -> Result<(), Refusal> {
    let (duplicate, qos) = (flags & 0b1000 != 0, flags >> 1 & 0b11);
    if qos == 3 || (qos == 0 && duplicate) {
        return Err(Refusal::Malformed);
    }
    let name = body.string()?;
    // An empty topic is for an alias to fill (3.3.2.1), which only MQTT 5 has.
    if !(name.is_empty() && version == Version::V5) {
        topic(name)?;
    }
    if qos > 0 {
        body.packet_id()?;
    }
    body.properties(version)
}

/// 3.4 and 3.6: reason code and properties may be left out.
fn acknowledgement(body: &mut Cursor<'_>, version: Version) -> Result<(), Refusal> {
    body.packet_id()?;
    goodbye(body, version)
}

/// 3.14: the same tail.
fn goodbye(body: &mut Cursor<'_>, version: Version) -> Result<(), Refusal> {
    if version == Version::V5 && !body.0.is_empty() {
        body.byte()?;
        if !body.0.is_empty() {
            body.properties(version)?;
        }
    }
    Ok(())
}

fn subscription(body: &mut Cursor<'_>, version: Version) -> Result<(), Refusal> {
    body.string()?;
    let options = body.byte()?;
    let reserved = match version {
        Version::V3 => options & 0b1111_1100,
        Version::V5 => options & 0b1100_0000,
    };
    if reserved != 0 || options & 0b11 == 3 || options >> 4 & 0b11 == 3 { Err(Refusal::Malformed) } else { Ok(()) }
}

/// 4.7: a topic to publish to, not empty and without wildcards.
fn topic(topic: &str) -> Result<(), Refusal> {
    if topic.is_empty() || topic.contains(['+', '#']) { Err(Refusal::Topic) } else { Ok(()) }
}

/// The body of a packet, from front to back.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Behind the fixed header.
    fn body(frame: &'a [u8]) -> Result<Self, Refusal> {
        let header = 1 + frame.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
        frame.get(header..).map(Self).ok_or(Refusal::Malformed)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        self.take(1)?.first().copied().ok_or(Refusal::Malformed)
    }

    fn u16(&mut self) -> Result<u16, Refusal> {
        Ok(u16::from(self.byte()?) << 8 | u16::from(self.byte()?))
    }

    fn binary(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// 1.5.4: UTF-8 without U+0000.
    fn string(&mut self) -> Result<&'a str, Refusal> {
        match std::str::from_utf8(self.binary()?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(Refusal::Malformed),
        }
    }

    /// 2.2.1: not 0.
    fn packet_id(&mut self) -> Result<(), Refusal> {
        if self.u16()? == 0 { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// 1.5.5: at most four bytes.
    fn variable(&mut self) -> Result<usize, Refusal> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Refusal::Malformed)
    }

    /// 2.2.2: each of a known kind and whole; which may stand in which packet, and how often, is the codec's to say.
    fn properties(&mut self, version: Version) -> Result<(), Refusal> {
        if version == Version::V3 {
            return Ok(());
        }
        let length = self.variable()?;
        let mut list = Cursor(self.take(length)?);
        while !list.0.is_empty() {
            match list.byte()? {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => drop(list.take(1)?),
                0x13 | 0x21 | 0x22 | 0x23 => drop(list.take(2)?),
                0x02 | 0x11 | 0x18 | 0x27 => drop(list.take(4)?),
                0x0b => drop(list.variable()?),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => drop(list.string()?),
                0x09 | 0x16 => drop(list.binary()?),
                0x26 => drop((list.string()?, list.string()?)),
                _ => return Err(Refusal::Malformed),
            }
        }
        Ok(())
    }

    /// At least one (3.8.3, 3.10.3).
    fn all(&mut self, one: impl Fn(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        one(self)?;
        while !self.0.is_empty() {
            one(self)?;
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
    }
}
