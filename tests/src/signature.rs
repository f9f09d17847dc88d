//! The request signature `SDK-HMAC-SHA256` (contract 7.2) from the client's side, and the password that a registry
//! login derives from an access key (contract 7.5). Written a second time on purpose: the server's own code is not
//! used.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// A header of a signed request.
pub type Header = (&'static str, String);

/// Lower-case hex of SHA-256.
pub fn sha256_hex(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// Lower-case hex of HMAC-SHA256.
pub fn hmac_hex(key: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length is taken");
    mac.update(message.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The password of a long-term registry login.
pub fn registry_password(access_key: &str, secret_key: &str) -> String {
    hmac_hex(secret_key, access_key)
}

/// The headers that sign a request: `X-Sdk-Date`, `Host` and `Authorization`.
pub fn sign(method: &str, host: &str, target: &str, body: &[u8], access_key: &str, secret_key: &str) -> Vec<Header> {
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let canonical = format!(
        "{method}\n{}\n{}\nhost:{host}\nx-sdk-date:{date}\n\nhost;x-sdk-date\n{}",
        canonical_path(path),
        canonical_query(query),
        sha256_hex(body)
    );
    let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{}", sha256_hex(canonical.as_bytes()));
    let signature = hmac_hex(secret_key, &to_sign);
    let authorization =
        format!("SDK-HMAC-SHA256 Access={access_key}, SignedHeaders=host;x-sdk-date, Signature={signature}");
    vec![("X-Sdk-Date", date), ("Host", host.to_owned()), ("Authorization", authorization)]
}

/// Decodes the path as a whole and then splits it, so an encoded slash becomes a slash here.
fn canonical_path(path: &str) -> String {
    let decoded = decode(path);
    let mut canonical: Vec<String> = decoded.split(|&byte| byte == b'/').map(encode).collect();
    if canonical.last().is_some_and(|last| !last.is_empty()) {
        canonical.push(String::new());
    }
    canonical.join("/")
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (encode(&decode(key)), encode(&decode(value))))
        .collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but the unreserved characters.
pub fn encode(raw: &[u8]) -> String {
    let escape = |&byte: &u8| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() || "-_.~".contains(plain) => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    raw.iter().map(escape).collect()
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2)).flatten().and_then(|digits| hex::decode(digits).ok());
        if let Some(byte) = escaped {
            bytes.extend(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    bytes
}
