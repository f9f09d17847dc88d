//! Follows the requests of one HTTP/1 connection byte by byte, so that each head is checked before it is passed on.
//!
//! Owns: where heads begin and bodies end. Never: changes a byte. It reports what it refuses, and passes nothing after
//! that.

use http::StatusCode;

use super::head::{self, BodyEnd, Refused};

/// First bytes of an HTTP/2 connection; this module checks nothing after them.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// Maximum length of a line with a chunk size; its extensions have no meaning here.
const MAX_CHUNK_LINE_BYTES: usize = 256;
/// Maximum length of the trailers, which have no meaning here either.
const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// A length of 64 bits has at most 16 hexadecimal digits.
const MAX_SIZE_DIGITS: usize = 16;

/// Why the connection must end, and how many of the bytes before may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) good: usize,
    /// The answer to send; `None` if a body is broken, because its handler answers.
    pub(super) refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a head, or before one.
    Head,
    /// This many bytes of a body are still to come.
    Body(u64),
    ChunkSize {
        size: u64,
        digits: usize,
        line: usize,
        extension: bool,
        carriage_return: bool,
    },
    ChunkData(u64),
    /// The line end after the data of a chunk, or only its second half.
    ChunkEnd {
        carriage_return: bool,
    },
    /// Trailer lines up to an empty one; `line` counts the bytes of the current line.
    Trailers {
        line: usize,
        total: usize,
        carriage_return: bool,
    },
    Http2,
    Stopped,
}

const CHUNK: State = State::ChunkSize { size: 0, digits: 0, line: 0, extension: false, carriage_return: false };

/// Position of a connection in its stream of requests.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// The bytes of the current head so far.
    head: Vec<u8>,
    /// Where the current line of the head begins.
    line: usize,
    /// Length of the first line, once it is complete.
    first_line: usize,
    /// Whether no head has been complete yet; only the first can be the HTTP/2 preface.
    first: bool,
}

impl Framing {
    pub(super) const fn new() -> Self {
        Self { state: State::Head, head: Vec::new(), line: 0, first_line: 0, first: true }
    }

    /// Whether this is an HTTP/2 connection.
    pub(super) fn is_http2(&self) -> bool {
        self.state == State::Http2
    }

    /// The bytes so far of a head that is not complete.
    pub(super) fn partial_head(&self) -> &[u8] {
        &self.head
    }

    /// Advances over received bytes; returns [`Stop`] if the connection must end.
    pub(super) fn received(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let step = match self.state {
                State::Http2 => return Ok(()),
                State::Stopped => return Err(Stop { good: 0, refused: None }),
                State::Head => self.head_bytes(rest).map_err(Some),
                State::Body(left) => Ok(self.skip(rest, left, State::Body, State::Head)),
                State::ChunkData(left) => {
                    let end = State::ChunkEnd { carriage_return: false };
                    Ok(self.skip(rest, left, State::ChunkData, end))
                }
                state => match after(state, rest[0]) {
                    Some(next) => {
                        self.state = next;
                        Ok(1)
                    }
                    None => Err(None),
                },
            };
            match step {
                Ok(taken) => at += taken,
                Err(refused) => {
                    self.state = State::Stopped;
                    return Err(Stop { good: at, refused });
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, rest: &[u8], left: u64, same: fn(u64) -> State, next: State) -> usize {
        let here = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        if here < left {
            self.state = same(left - here);
            return rest.len();
        }
        self.state = next;
        usize::try_from(left).expect("it is not more than the length of a slice")
    }

    /// Takes bytes of a head, at most one line; returns how many.
    fn head_bytes(&mut self, rest: &[u8]) -> Result<usize, Refused> {
        let end = rest.iter().position(|b| *b == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(rest.len()).min(head::MAX_LINE_BYTES);
        self.head.extend_from_slice(&rest[..taken]);
        let first_line = if self.line > 0 { Some(self.first_line) } else { None };
        head::check_length(&self.head, first_line)?;
        if end != Some(taken) {
            return Ok(taken);
        }
        let line = &self.head[self.line..];
        if !line.ends_with(b"\r\n") {
            let message = "a line of the head ends with a line feed alone, without a carriage return";
            return Err(Refused::new(StatusCode::BAD_REQUEST, message, &self.head));
        }
        let empty = line.len() == 2;
        if self.line == 0 {
            self.first_line = line.len();
        }
        self.line = self.head.len();
        if !empty {
            return Ok(taken);
        }
        if self.first && self.head == HTTP2_PREFACE {
            self.state = State::Http2;
        } else if self.head.len() > 2 {
            self.first = false;
            self.state = match head::check(&self.head)? {
                BodyEnd::Length(0) => State::Head,
                BodyEnd::Length(bytes) => State::Body(bytes),
                BodyEnd::Chunked => CHUNK,
            };
        }
        // An empty line before a head means nothing; very old clients send one after a body.
        self.head.clear();
        self.line = 0;
        Ok(taken)
    }
}

/// Returns the state after one more byte between the data of chunks; `None` if the byte is not allowed there.
fn after(state: State, byte: u8) -> Option<State> {
    match state {
        State::ChunkSize { size, carriage_return: true, .. } => match (byte, size) {
            (b'\n', 0) => Some(State::Trailers { line: 0, total: 0, carriage_return: false }),
            (b'\n', size) => Some(State::ChunkData(size)),
            _ => None,
        },
        State::ChunkSize { line, .. } if line >= MAX_CHUNK_LINE_BYTES => None,
        State::ChunkSize { size, digits, line, extension, .. } => {
            let next = |size, digits, extension, carriage_return| {
                Some(State::ChunkSize { size, digits, line: line + 1, extension, carriage_return })
            };
            match byte {
                b'\r' if digits > 0 => next(size, digits, extension, true),
                b';' if digits > 0 => next(size, digits, true, false),
                _ if extension => next(size, digits, true, false).filter(|_| !byte.is_ascii_control() || byte == b'\t'),
                _ => {
                    let digit = char::from(byte).to_digit(16).filter(|_| digits < MAX_SIZE_DIGITS)?;
                    next((size << 4) | u64::from(digit), digits + 1, false, false)
                }
            }
        }
        State::ChunkEnd { carriage_return } => match (carriage_return, byte) {
            (false, b'\r') => Some(State::ChunkEnd { carriage_return: true }),
            (true, b'\n') => Some(CHUNK),
            _ => None,
        },
        State::Trailers { total, .. } if total >= MAX_TRAILER_BYTES => None,
        State::Trailers { line, total, carriage_return } => {
            let next = |line, carriage_return| Some(State::Trailers { line, total: total + 1, carriage_return });
            match (carriage_return, byte) {
                (true, b'\n') if line == 0 => Some(State::Head),
                (true, b'\n') => next(0, false),
                (false, b'\r') => next(line, true),
                (true, _) | (false, b'\n') => None,
                (false, _) => next(line + 1, false),
            }
        }
        State::Head | State::Body(_) | State::ChunkData(_) | State::Http2 | State::Stopped => None,
    }
}

#[cfg(test)]
mod tests;
