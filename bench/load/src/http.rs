//! Just enough HTTP/1.1 for a load generator: one connection kept alive, answers with a length.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A request that takes longer than this has found a bug, not a slow server.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The `Location` header.
    pub(crate) location: Option<String>,
}

/// One connection to one server.
pub(crate) struct Connection {
    host: String,
    /// Header lines sent with each request, each with its line end.
    extra: String,
    stream: BufReader<TcpStream>,
    line: String,
    scratch: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) fn open(host: &str, headers: &[String]) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let extra = headers.iter().fold(String::new(), |all, header| all + header + "\r\n");
        Ok(Self {
            host: host.to_owned(),
            extra,
            stream: BufReader::with_capacity(64 << 10, stream),
            line: String::new(),
            scratch: vec![0; 256 << 10],
        })
    }

    /// Sends one request and reads its whole answer.
    pub(crate) fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        // A Location may be a whole URL; only its path is used.
        let path = match target.strip_prefix("http://") {
            Some(rest) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => target,
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{headers}", self.host, self.extra);
        if let Some(body) = body {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        match body {
            // Small bodies go in one packet with their head, as the buffered writer of an ordinary client sends them.
            Some(body) if body.len() <= 4096 => stream.write_all(&[head.as_bytes(), body].concat())?,
            Some(body) => {
                stream.write_all(head.as_bytes())?;
                stream.write_all(body)?;
            }
            None => stream.write_all(head.as_bytes())?,
        }
        self.answer(method == "HEAD")
    }

    fn answer(&mut self, headless: bool) -> io::Result<Answer> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        self.read_line()?;
        let status = self.line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad(format!("not a status line: {:?}", self.line)))?;
        let (mut location, mut length) = (None, None);
        loop {
            self.read_line()?;
            if self.line.is_empty() {
                break;
            }
            let Some((name, value)) = self.line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<u64>().ok();
            } else if name.eq_ignore_ascii_case("location") {
                location = Some(value.trim().to_owned());
            }
        }
        if headless || status == 204 || status == 304 {
            return Ok(Answer { status, location });
        }
        let length = length.ok_or_else(|| bad(format!("an answer {status} without Content-Length")))?;
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.scratch.len());
            let read = self.stream.read(&mut self.scratch[..most])?;
            if read == 0 {
                return Err(bad(format!("the answer ended {left} bytes early")));
            }
            left -= read as u64;
        }
        Ok(Answer { status, location })
    }

    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.line.truncate(self.line.trim_end().len());
        Ok(())
    }
}
