//! The canonical request (contract 7.2, first table).

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::{SignatureError, SignedRequest, single_header};

/// The characters to encode: all but `A-Z a-z 0-9 - _ . ~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Headers whose values are masked: the caller's log will have the message of the answer, and should not have these
/// values.
const MASKED: [&str; 4] = ["authorization", "cookie", "x-auth-token", "x-security-token"];
/// Maximum number of characters of a canonical request that an error shows.
const SHOWN_CHARS: usize = 4096;

/// How the path enters the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// Decoded once, then encoded: what most SDKs sign.
    Decoded,
    /// As on the wire, then encoded: what Java and Node sign if the name was given encoded.
    Raw,
}

/// The second line: every piece of the path encoded, with a slash at the end.
pub fn canonical_uri(path: &str, form: PathForm) -> String {
    let path: Cow<'_, [u8]> = match form {
        PathForm::Decoded => percent_decode_str(path).into(),
        PathForm::Raw => Cow::Borrowed(path.as_bytes()),
    };
    let mut uri = String::with_capacity(path.len() + 16);
    for (index, piece) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            uri.push('/');
        }
        uri.extend(percent_encode(piece, RESERVED));
    }
    if !uri.ends_with('/') {
        uri.push('/');
    }
    uri
}

/// The third line: keys and values decoded, sorted by key and then by value, encoded.
pub fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_query(key), decode_query(value))
        })
        .collect();
    pairs.sort_unstable();
    let mut text = String::with_capacity(query.len() + 16);
    for (key, value) in &pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(percent_encode(key, RESERVED));
        text.push('=');
        text.extend(percent_encode(value, RESERVED));
    }
    text
}

/// Decodes a text of a query, in which a plus is a space (contract 1.3).
fn decode_query(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// The canonical request as it is signed.
///
/// # Errors
/// When a signed header is missing, repeated or not text.
pub fn canonical_request(
    request: SignedRequest<'_>,
    signed_headers: &[String],
    payload_hash: &str,
    form: PathForm,
) -> Result<String, SignatureError> {
    let headers = canonical_headers(request, signed_headers)?;
    let uri = canonical_uri(request.path, form);
    let query = canonical_query(request.query.unwrap_or_default());
    let names = signed_headers.join(";");
    Ok(format!("{}\n{uri}\n{query}\n{headers}\n{names}\n{payload_hash}", request.method))
}

fn canonical_headers(request: SignedRequest<'_>, signed_headers: &[String]) -> Result<String, SignatureError> {
    let mut text = String::new();
    for name in signed_headers {
        let _ = writeln!(text, "{name}:{}", header_value(request, name)?);
    }
    Ok(text)
}

fn header_value<'a>(request: SignedRequest<'a>, name: &str) -> Result<&'a str, SignatureError> {
    match request.authority {
        Some(authority) if name == "host" && !request.headers.contains_key(http::header::HOST) => Ok(authority),
        _ => single_header(request.headers, name),
    }
}

/// The canonical request for an error message: newlines as `|`, credentials masked, cut to a maximum length.
pub(super) fn shown(request: SignedRequest<'_>, signed_headers: &[String], payload_hash: &str) -> String {
    let mut headers = String::new();
    for name in signed_headers {
        let value = header_value(request, name).unwrap_or_default();
        let value = if MASKED.contains(&name.as_str()) { "***" } else { value };
        let _ = write!(headers, "{name}:{value}|");
    }
    let uri = canonical_uri(request.path, PathForm::Decoded);
    let query = canonical_query(request.query.unwrap_or_default());
    let names = signed_headers.join(";");
    let text = format!("{}|{uri}|{query}|{headers}|{names}|{payload_hash}", request.method);
    text.chars().take(SHOWN_CHARS).collect()
}
