//! The least HTTP/1.1 client: POST on one kept connection, and the status of the answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Result;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 16 << 20;

pub struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, reader, host: address.to_owned() })
    }

    pub fn post(&mut self, path: &str, content_type: &str, body: &str) -> Result<u16> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&request)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<u16> {
        let status = self.line()?.split(' ').nth(1).ok_or("no status line")?.parse()?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.starts_with("transfer-encoding:") {
                return Err("chunked answers are not understood".into());
            }
        }
        std::io::copy(&mut self.reader.by_ref().take(u64::min(length, MAX_ANSWER)), &mut std::io::sink())?;
        Ok(status)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}
