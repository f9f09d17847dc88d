//! One HTTP/1 request head as it came over the wire: whether it is unambiguous, and where its body ends.
//!
//! The HTTP library is lenient: it drops `Content-Length` beside `Transfer-Encoding`, takes a line feed for a line end,
//! and answers heads that it refuses without a body. A proxy in front may read such a head differently, which is how
//! requests are smuggled. So every ambiguous head is refused here, before the library sees it (bad-inputs F, HTTP
//! layer).
//!
//! Owns: the grammar of a head (RFC 9112). Never: sockets, or what the request means.

use http::StatusCode;

use super::limits::{MAX_HEADER_BYTES, MAX_TARGET_BYTES, Refusal};

/// Maximum number of headers that the library takes. No client of ours sends more than thirty.
const MAX_HEADERS: usize = 100;
/// Maximum length of a request line: method, target and version.
pub(super) const MAX_LINE_BYTES: usize = MAX_TARGET_BYTES + 64;
/// Maximum length of a path in a log line.
const MAX_LOGGED_CHARS: usize = 256;

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// A refused head, with as much of it as an answer and a log line need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) method: String,
    pub(super) path: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: &'static str, head: &[u8]) -> Self {
        let mut words = head.split(|b| matches!(b, b' ' | b'\r' | b'\n'));
        let method = words.next().filter(|word| !word.is_empty() && word.len() <= 20 && is_token(word));
        let target = words.next().unwrap_or_default();
        let path = target.split(|b| *b == b'?').next().filter(|path| path.first() == Some(&b'/')).unwrap_or(b"/");
        Self {
            refusal: Refusal { status, message },
            method: method.map_or_else(|| "-".to_owned(), |word| String::from_utf8_lossy(word).into_owned()),
            path: String::from_utf8_lossy(path).chars().take(MAX_LOGGED_CHARS).collect(),
        }
    }
}

/// Checks a whole head, including the empty line at its end.
pub(super) fn check(head: &[u8]) -> Result<BodyEnd, Refused> {
    check_lines(head).map_err(|(status, message)| Refused::new(status, message, head))
}

type Reason = (StatusCode, &'static str);

const fn bad(message: &'static str) -> Reason {
    (StatusCode::BAD_REQUEST, message)
}

fn check_lines(head: &[u8]) -> Result<BodyEnd, Reason> {
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_http_11 = check_request_line(lines.next().unwrap_or_default())?;
    let (mut hosts, mut lengths, mut codings, mut headers) = (0, Vec::new(), Vec::new(), 0);
    for line in lines.take_while(|line| !line.is_empty()) {
        headers += 1;
        let (name, value) = split_header(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            check_host(value)?;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings.push(value);
        }
    }
    if headers > MAX_HEADERS {
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "there are more than 100 headers"));
    }
    match hosts {
        0 if is_http_11 => return Err(bad("there is no Host header")),
        0 | 1 => {}
        _ => return Err(bad("there is more than one Host header")),
    }
    body_end(&lengths, &codings, is_http_11)
}

/// Checks the request line; returns whether the version is HTTP/1.1 and not 1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Reason> {
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the request line is not a method, a target and a version with one space between them"));
    };
    if method.is_empty() || !is_token(method) {
        return Err(bad("the method is not a word"));
    }
    if method == b"CONNECT" {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served; this is no proxy"));
    }
    if target.len() > MAX_TARGET_BYTES {
        return Err((StatusCode::URI_TOO_LONG, "the request target is longer than 8 KiB"));
    }
    let is_clean = !target.is_empty() && !target.iter().any(|b| b.is_ascii_control() || *b == b'#');
    if !is_clean || std::str::from_utf8(target).is_err() {
        return Err(bad("the request target holds bytes that must be percent-encoded"));
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err((StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are served"))
        }
        _ => Err(bad("the request line does not end with a version of HTTP")),
    }
}

/// Splits a header line into its name, and its value as it stands after the colon.
fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    if line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
        return Err(bad("a header goes on in a second line, which is not allowed"));
    }
    let colon = line.iter().position(|b| *b == b':').ok_or(bad("a header has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !is_token(name) {
        return Err(bad("a header name holds a space or another byte that names cannot have"));
    }
    if value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(bad("a header value holds a control character"));
    }
    Ok((name, value))
}

fn check_host(value: &[u8]) -> Result<(), Reason> {
    let host = value.trim_ascii();
    if host.iter().any(|b| !b.is_ascii_graphic() || matches!(b, b'/' | b'?' | b'#' | b'@' | b'\\' | b',')) {
        return Err(bad("the Host header is not a host and a port"));
    }
    Ok(())
}

fn body_end(lengths: &[&[u8]], codings: &[&[u8]], is_http_11: bool) -> Result<BodyEnd, Reason> {
    match (lengths, codings) {
        ([], []) => Ok(BodyEnd::Length(0)),
        ([length], []) => {
            let digits = length.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(bad("Content-Length is not a number"));
            }
            let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            number.map(BodyEnd::Length).ok_or(bad("Content-Length is too large a number"))
        }
        (_, []) => Err(bad("there is more than one Content-Length")),
        ([], [coding]) if is_http_11 => {
            // Takes only the form that every client sends: a tab or a second space has no use but ambiguity.
            let coding = coding.strip_prefix(b" ").unwrap_or(coding);
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(bad("Transfer-Encoding is not `chunked`, the only one that is served"));
            }
            Ok(BodyEnd::Chunked)
        }
        ([], [_]) => Err(bad("HTTP/1.0 has no Transfer-Encoding")),
        ([], _) => Err(bad("there is more than one Transfer-Encoding")),
        _ => Err(bad("there are both Content-Length and Transfer-Encoding")),
    }
}

/// Refuses an incomplete head that is already too long; `line` is the length of its first line, once known.
pub(super) fn check_length(head: &[u8], line: Option<usize>) -> Result<(), Refused> {
    if line.unwrap_or(head.len()) > MAX_LINE_BYTES {
        let message = "the request target is longer than 8 KiB";
        return Err(Refused::new(StatusCode::URI_TOO_LONG, message, head));
    }
    if line.is_some_and(|line| head.len() - line > MAX_HEADER_BYTES) {
        let message = "the headers are larger than 32 KiB";
        return Err(Refused::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message, head));
    }
    Ok(())
}

/// Whether the bytes are a token (RFC 9110, 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests;
