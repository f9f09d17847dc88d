//! The request signature SDK-HMAC-SHA256 (contract 7.2): pure functions from a request to its signature.
//!
//! Owns: the canonical form, signing, verifying. Never: whose key it is, I/O, the clock (`now` is an argument).
//!
//! There is no cache of seen signatures: every mutating operation is idempotent, so a replay inside the window of
//! [`WINDOW_SECONDS`] does nothing that the first call did not do (H11).

mod authorization;
mod canonical;
mod signer;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use authorization::{ALGORITHM, Authorization, parse_authorization};
pub use canonical::{PathForm, canonical_query, canonical_request, canonical_uri};
pub use signer::Signer;

/// Maximum difference between `X-Sdk-Date` and the server's clock, in either direction.
pub const WINDOW_SECONDS: i64 = 15 * 60;
/// The header with the time of signing.
pub const DATE_HEADER: &str = "x-sdk-date";
/// The header that stands in for the hash of the body.
pub const CONTENT_HASH_HEADER: &str = "x-sdk-content-sha256";
/// What SDKs put into [`CONTENT_HASH_HEADER`] for bodies that they do not hash.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Why a signature was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The Authorization header names another algorithm.
    #[error("signature algorithm {0:?} is not served here; expected {ALGORITHM}")]
    Algorithm(String),
    /// The Authorization header cannot be read.
    #[error("Authorization cannot be read: {0}; expected {ALGORITHM} Access=…, SignedHeaders=a;b, Signature=…")]
    Malformed(&'static str),
    /// The list of signed headers cannot be trusted.
    #[error("SignedHeaders: {0}")]
    SignedHeaders(String),
    /// A header that the signature needs is missing, repeated or unreadable.
    #[error("header {0}")]
    Header(String),
    /// The time of signing is not near the server's time.
    #[error("X-Sdk-Date {date} is more than 15 minutes from the time here, {now}; set the clock right")]
    Clock {
        /// What the request says.
        date: String,
        /// What the server's clock says.
        now: String,
    },
    /// The body is not the one that was signed, or was not signed at all.
    #[error("X-Sdk-Content-Sha256 {0}")]
    Payload(&'static str),
    /// The signature does not match.
    #[error("verify aksk signature fail, the request as it arrived: {canonical}")]
    Mismatch {
        /// The canonical request as the server saw it, with newlines shown as `|` and credentials masked.
        canonical: String,
    },
}

/// The parts of a request that a signature covers, as they were on the wire.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// The raw path.
    pub path: &'a str,
    /// The raw query, without the question mark.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The host if there is no Host header: `:authority` of HTTP/2.
    pub authority: Option<&'a str>,
}

/// Hex SHA-256, as the canonical request has it.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The text that is signed, from the time of signing and the canonical request.
pub fn string_to_sign(date: &str, canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{date}\n{}", hash(canonical_request.as_bytes()))
}

/// Signs a text with a secret key, which is used as it is.
pub fn sign(secret: &str, string_to_sign: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(string_to_sign.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Signs chosen headers of a request and returns its Authorization header. `signed_headers` must be among the headers.
/// [`Signer`] does the same for a whole request.
///
/// # Errors
/// If a header to sign is missing, or the time of signing is.
pub fn authorization_header(
    request: SignedRequest<'_>,
    signed_headers: &[&str],
    body: &[u8],
    access_key: &str,
    secret: &str,
) -> Result<String, SignatureError> {
    let mut names: Vec<String> = signed_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    let date = single_header(request.headers, DATE_HEADER)?;
    let canonical = canonical_request(request, &names, &hash(body), PathForm::Decoded)?;
    let signature = sign(secret, &string_to_sign(date, &canonical));
    Ok(format!("{ALGORITHM} Access={access_key}, SignedHeaders={}, Signature={signature}", names.join(";")))
}

/// Checks everything that needs neither the body nor the secret: whether the date is signed and near `now_seconds`,
/// whether the signed headers are there, and whether the body may go unsigned.
///
/// # Errors
/// Why the request is refused whatever its body is.
pub fn check_head(
    request: SignedRequest<'_>,
    authorization: &Authorization,
    now_seconds: i64,
) -> Result<(), SignatureError> {
    checked_date(request, authorization, now_seconds)?;
    unsigned_payload(request.headers)?;
    canonical_request(request, &authorization.signed_headers, "", PathForm::Decoded).map(drop)
}

/// Returns the time of signing, which must be among the signed headers and near the server's time.
fn checked_date<'a>(
    request: SignedRequest<'a>,
    authorization: &Authorization,
    now_seconds: i64,
) -> Result<&'a str, SignatureError> {
    if !authorization.signed_headers.iter().any(|name| name == DATE_HEADER) {
        return Err(SignatureError::SignedHeaders(format!("{DATE_HEADER} is not among them")));
    }
    let date = single_header(request.headers, DATE_HEADER)?;
    check_date(date, now_seconds)?;
    Ok(date)
}

/// Verifies a signature against the secret of the access key it names.
///
/// # Errors
/// Why this is not the request that the holder of the secret signed, or was not signed near `now_seconds`.
pub fn verify(
    request: SignedRequest<'_>,
    authorization: &Authorization,
    body_sha256: &str,
    secret: &str,
    now_seconds: i64,
) -> Result<(), SignatureError> {
    let date = checked_date(request, authorization, now_seconds)?;
    let payload_hash = payload_hash(request.headers, body_sha256)?;
    let mut seen = String::new();
    // Java and Node sign the path as the user gave it, which may be encoded already. The second form covers that.
    for form in [PathForm::Decoded, PathForm::Raw] {
        let canonical = canonical_request(request, &authorization.signed_headers, payload_hash, form)?;
        let expected = sign(secret, &string_to_sign(date, &canonical));
        if expected.as_bytes().ct_eq(authorization.signature.as_bytes()).into() {
            return Ok(());
        }
        if form == PathForm::Decoded {
            seen = canonical::shown(request, &authorization.signed_headers, payload_hash);
        }
    }
    Err(SignatureError::Mismatch { canonical: seen })
}

/// Returns the last line of the canonical request. A content hash header counts only if it is true.
fn payload_hash<'a>(headers: &'a HeaderMap, body_sha256: &'a str) -> Result<&'a str, SignatureError> {
    if !headers.contains_key(CONTENT_HASH_HEADER) {
        return Ok(body_sha256);
    }
    if let Some(unsigned) = unsigned_payload(headers)? {
        return Ok(unsigned);
    }
    let given = single_header(headers, CONTENT_HASH_HEADER)?;
    if given.eq_ignore_ascii_case(body_sha256) {
        Ok(given)
    } else {
        Err(SignatureError::Payload("is not the hash of the body"))
    }
}

/// Returns what replaces the hash of a body that was not signed, if that is allowed.
fn unsigned_payload(headers: &HeaderMap) -> Result<Option<&str>, SignatureError> {
    if !headers.contains_key(CONTENT_HASH_HEADER) {
        return Ok(None);
    }
    let given = single_header(headers, CONTENT_HASH_HEADER)?;
    if given != UNSIGNED_PAYLOAD {
        return Ok(None);
    }
    let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type {
        Some(kind) if !is_json(kind) => Ok(Some(given)),
        _ => Err(SignatureError::Payload("is UNSIGNED-PAYLOAD, which JSON requests may not use")),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Formats a Unix time as in `X-Sdk-Date`; the bare number if no calendar has that time.
fn date_text(at_seconds: i64) -> String {
    jiff::Timestamp::from_second(at_seconds)
        .map_or_else(|_| at_seconds.to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
}

fn check_date(date: &str, now_seconds: i64) -> Result<(), SignatureError> {
    let clock = || SignatureError::Clock { date: date.to_owned(), now: date_text(now_seconds) };
    let malformed = || SignatureError::Header(format!("X-Sdk-Date is {date:?}; expected YYYYMMDDTHHMMSSZ"));
    if date.len() != 16 || !date.is_ascii() {
        return Err(malformed());
    }
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|_| malformed())?
        .timestamp()
        .as_second();
    if (at - now_seconds).abs() > WINDOW_SECONDS { Err(clock()) } else { Ok(()) }
}

/// Returns a header that must be present exactly once.
fn single_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| SignatureError::Header(format!("{name} is missing")))?;
    if values.next().is_some() {
        return Err(SignatureError::Header(format!("{name} is there more than once")));
    }
    std::str::from_utf8(value.as_bytes())
        .map(str::trim)
        .map_err(|_| SignatureError::Header(format!("{name} is not UTF-8")))
}

#[cfg(test)]
mod tests;
