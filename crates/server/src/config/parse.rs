//! Parsers for single values; the error of each says what it expected.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use base64::Engine as _;
use toml::Value;
use transship_oci::RegionId;
use transship_registry::NamePatterns;

use super::{LogFormat, SyncImagesResponse};
use crate::http::address::AddressRange;

pub(super) fn region_id(value: &Value) -> Result<RegionId, String> {
    let expected =
        || "a region id such as \"cn-north-4\": a-z, 0-9 and single hyphens, at most 64 characters".to_owned();
    value.as_str().ok_or_else(expected)?.parse().map_err(|_| expected())
}

pub(super) fn address(value: &Value) -> Result<SocketAddr, String> {
    let expected = || "an IP address and port such as \"127.0.0.1:8080\"".to_owned();
    value.as_str().ok_or_else(expected)?.parse().map_err(|_| expected())
}

/// `scheme://host[:port]`, followed by at most one slash, which is dropped.
pub(super) fn url(value: &Value) -> Result<String, String> {
    let expected =
        || "http:// or https:// with host and port, and no path, such as \"http://127.0.0.1:8080\"".to_owned();
    let text = value.as_str().ok_or_else(expected)?;
    let uri: http::Uri = text.parse().map_err(|_| expected())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(expected)?;
    let authority = uri.authority().ok_or_else(expected)?;
    let bare = !authority.as_str().contains('@') && !authority.host().is_empty();
    if !bare || uri.path_and_query().is_some_and(|path| path.as_str() != "/") || text.contains('#') {
        return Err(expected());
    }
    if authority.port().is_none() && authority.as_str().ends_with(':') {
        return Err(expected());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// Names of accounts and users.
pub(super) fn name(value: &Value) -> Result<String, String> {
    let fine = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let found = value.as_str().filter(fine).map(str::to_owned);
    found.ok_or_else(|| "1 to 64 characters of A-Z, a-z, 0-9, - _ .".to_owned())
}

/// A name that fits into a login, `region@access key`, and into an Authorization header.
pub(super) fn access_key(value: &Value) -> Result<String, String> {
    name(value)
}

/// Maximum number of keys of one peer: the old one, the new one, and room for a mistake.
const MAX_PUBLIC_KEYS: usize = 4;

/// One key, or a list of keys.
pub(super) fn public_keys(value: &Value) -> Result<Vec<String>, String> {
    let key = |value: &Value| {
        let text = value.as_str().map(str::trim);
        let is_key =
            |text: &&str| base64::engine::general_purpose::STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
        text.filter(is_key).map(str::to_owned)
    };
    let keys: Option<Vec<String>> = match value {
        Value::Array(values) => values.iter().map(key).collect(),
        value => key(value).map(|key| vec![key]),
    };
    keys.filter(|keys| (1..=MAX_PUBLIC_KEYS).contains(&keys.len())).ok_or_else(|| {
        format!(
            "the base64 of 32 bytes that `transship region-key` prints there, or a list of 1 to {MAX_PUBLIC_KEYS} of them"
        )
    })
}

/// Patterns of names.
pub(super) fn name_patterns(value: &Value) -> Result<NamePatterns, String> {
    let expected = || "a list of patterns of names such as [\"team-*\", \"ops\"]".to_owned();
    let values = value.as_array().ok_or_else(expected)?.iter();
    let texts = values.map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    NamePatterns::new(texts.ok_or_else(expected)?).map_err(|reason| format!("{}, not {reason}", expected()))
}

pub(super) fn whole_number(range: RangeInclusive<i64>) -> impl FnOnce(&Value) -> Result<i64, String> {
    move |value| {
        let number = value.as_integer().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

pub(super) fn anonymous(value: &Value) -> Result<bool, String> {
    match value.as_str() {
        Some("none") => Ok(false),
        Some("pull-public") => Ok(true),
        _ => Err("\"none\" or \"pull-public\"".to_owned()),
    }
}

pub(super) fn sync_images_response(value: &Value) -> Result<SyncImagesResponse, String> {
    match value.as_str() {
        Some("failed") => Ok(SyncImagesResponse::Failed),
        Some("succeeded") => Ok(SyncImagesResponse::Succeeded),
        _ => Err("\"failed\" or \"succeeded\"".to_owned()),
    }
}

pub(super) fn peer_kind(value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some("transship") => Ok(()),
        Some("oci") => {
            Err("\"transship\": targets of kind \"oci\" are planned, but this version cannot push to them yet"
                .to_owned())
        }
        _ => Err("\"transship\"".to_owned()),
    }
}

/// Addresses and ranges of addresses.
pub(super) fn address_ranges(value: &Value) -> Result<Vec<AddressRange>, String> {
    let expected = || "a list of addresses and ranges such as [\"10.0.0.0/8\", \"fd00::1\"]".to_owned();
    let ranges = value.as_array().ok_or_else(expected)?.iter();
    ranges.map(|range| range.as_str().and_then(|text| text.parse().ok()).ok_or_else(expected)).collect()
}

pub(super) fn log_level(value: &Value) -> Result<String, String> {
    let expected =
        || "error, warn, info, debug or trace, or a list such as \"info,transship_registry=debug\"".to_owned();
    let text = value.as_str().filter(|text| !text.is_empty()).ok_or_else(expected)?;
    tracing_subscriber::EnvFilter::builder().parse(text).map_err(|_| expected())?;
    // The filter takes any word for the name of a module. Without any `=`, a word that is no level is a typing error.
    let words = ["error", "warn", "info", "debug", "trace", "off"];
    if !text.contains('=') && text.split(',').any(|word| !words.contains(&word.trim().to_ascii_lowercase().as_str())) {
        return Err(expected());
    }
    Ok(text.to_owned())
}

pub(super) fn log_format(value: &Value) -> Result<LogFormat, String> {
    match value.as_str() {
        Some("json") => Ok(LogFormat::Json),
        Some("text") => Ok(LogFormat::Text),
        _ => Err("\"json\" or \"text\"".to_owned()),
    }
}
