//! HTTP/1.1 by hand over a socket: bytes go out exactly as a test wrote them, and answers are read one by one. Ordinary
//! clients normalise paths and headers, and refuse to send what is wrong.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Maximum time for an answer. No request here takes long, but the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(2);
/// Answers of tests are small; more than this is a mistake.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// One answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Everything as it was on the wire.
    pub raw: Vec<u8>,
}

impl Answer {
    /// The first header of a name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether the server says that it closes the connection after this answer.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// The result of reading an answer.
#[derive(Clone, Debug)]
pub enum Read {
    /// An answer.
    Answer(Answer),
    /// The connection ended before the first byte of one: in order, or by a reset.
    Closed {
        /// Whether it was reset.
        reset: bool,
    },
    /// Something that is not HTTP, or an answer cut off.
    Broken(String),
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// `<address>:<port>`.
    pub host: String,
    /// The method.
    pub method: String,
    /// Everything before the body.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Writes down what an ordinary client would send.
    pub fn of(request: reqwest::RequestBuilder) -> Self {
        let request = request.build().expect("the request of a test can be built");
        let (method, url) = (request.method().to_string(), request.url());
        let host = url.host_str().zip(url.port()).map(|(host, port)| format!("{host}:{port}"));
        let host = host.expect("a region has an address and a port");
        let body = request.body().map_or(&[][..], |body| body.as_bytes().expect("the body is no stream")).to_vec();
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        let mut head = format!("{method} {}{query} HTTP/1.1\r\nhost: {host}\r\n", url.path()).into_bytes();
        for (name, value) in request.headers().iter().filter(|(name, _)| *name != "content-length") {
            head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        Self { host, method, head, body }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Bytes that came and belong to the next answer.
    ahead: Vec<u8>,
}

impl Wire {
    /// Connects to `127.0.0.1:<port>`.
    pub async fn connect(host: &str) -> Self {
        let stream = TcpStream::connect(host).await.unwrap_or_else(|error| panic!("no connection to {host}: {error}"));
        stream.set_nodelay(true).expect("a socket takes the option");
        Self { stream, ahead: Vec::new() }
    }

    /// Sends bytes. An error only means that the other end has closed.
    ///
    /// # Errors
    /// When the other end has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Closes the sending half: no more bytes will come.
    pub async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Closes the connection by a reset (RST). What was sent is not taken back.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket takes the option");
    }

    /// Sends and reads at the same time, like a client whose request may be refused half-way.
    pub async fn exchange(&mut self, bytes: &[u8], method: &str, end: bool) -> Read {
        let Self { stream, ahead } = self;
        let (mut reader, mut writer) = stream.split();
        let sending = async {
            // A server that refuses a request early may close the connection; the answer counts.
            let sent = writer.write_all(bytes).await;
            if sent.is_ok() && end {
                let _ = writer.shutdown().await;
            }
            std::future::pending::<Read>().await
        };
        let reading = read_answer(&mut reader, ahead, method);
        tokio::select! {
            read = reading => read,
            read = sending => read,
        }
    }

    /// Reads the next answer to a request of this method.
    pub async fn read(&mut self, method: &str) -> Read {
        let Self { stream, ahead } = self;
        let (mut reader, _) = stream.split();
        read_answer(&mut reader, ahead, method).await
    }
}

async fn read_answer<R: tokio::io::AsyncRead + Unpin>(reader: &mut R, ahead: &mut Vec<u8>, method: &str) -> Read {
    let mut input = Input { reader, bytes: std::mem::take(ahead) };
    let read = tokio::time::timeout(PATIENCE, input.answer(method)).await;
    *ahead = input.bytes;
    read.unwrap_or_else(|_| Read::Broken(format!("no answer within {} s", PATIENCE.as_secs())))
}

struct Input<'a, R> {
    reader: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Input<'_, R> {
    async fn answer(&mut self, method: &str) -> Read {
        let head_bytes = loop {
            if let Some(end) = find(&self.bytes, b"\r\n\r\n") {
                break end + 4;
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) if self.bytes.is_empty() => return Read::Closed { reset: false },
                Err(_) if self.bytes.is_empty() => return Read::Closed { reset: true },
                _ => return Read::Broken(format!("half a head: {:?}", String::from_utf8_lossy(&self.bytes))),
            }
        };
        let mut raw: Vec<u8> = self.bytes.drain(..head_bytes).collect();
        let Some(mut answer) = parse_head(&raw) else {
            return Read::Broken(format!("not HTTP: {:?}", String::from_utf8_lossy(&raw)));
        };
        let has_no_body = method == "HEAD" || matches!(answer.status, 100..=199 | 204 | 304);
        let body = if has_no_body {
            Some(Vec::new())
        } else if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.chunks(&mut raw).await
        } else {
            let length = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            self.take(length, &mut raw).await
        };
        match body {
            Some(body) => {
                answer.body = body;
                answer.raw = raw;
                Read::Answer(answer)
            }
            None => Read::Broken(format!("the body of {} ends early", answer.status)),
        }
    }

    async fn chunks(&mut self, raw: &mut Vec<u8>) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.bytes, b"\r\n") {
                    Some(end) => break end,
                    None if self.more().await.ok()? => {}
                    None => return None,
                }
            };
            let line = self.take(end + 2, raw).await?;
            let size = usize::from_str_radix(std::str::from_utf8(&line[..end]).ok()?.trim(), 16).ok()?;
            let chunk = self.take(size + 2, raw).await?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn take(&mut self, count: usize, raw: &mut Vec<u8>) -> Option<Vec<u8>> {
        while self.bytes.len() < count {
            if count > MAX_ANSWER_BYTES || !self.more().await.ok()? {
                return None;
            }
        }
        let taken: Vec<u8> = self.bytes.drain(..count).collect();
        raw.extend_from_slice(&taken);
        Some(taken)
    }

    /// Whether more bytes came.
    async fn more(&mut self) -> std::io::Result<bool> {
        Ok(self.reader.read_buf(&mut self.bytes).await? > 0)
    }
}

fn parse_head(raw: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Answer { status, headers: headers.collect::<Option<_>>()?, ..Answer::default() })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
