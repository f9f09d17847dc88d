//! Parses the Authorization header of a signed request.

use super::SignatureError;

/// The only algorithm that is served.
pub const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// Maximum number of signed headers; no SDK signs more.
const MAX_SIGNED_HEADERS: usize = 64;

/// The content of `Authorization: SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The access key.
    pub access_key: String,
    /// Lower-case names, sorted, each once.
    pub signed_headers: Vec<String>,
    /// 64 lower-case hex digits, or whatever was sent in their place.
    pub signature: String,
}

/// Parses the header. Refuses a list of signed headers that is not sorted, repeats a name or is not in lower case.
///
/// # Errors
/// What is wrong with the header; the message does not show the signature.
pub fn parse_authorization(value: &str) -> Result<Authorization, SignatureError> {
    let (algorithm, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if algorithm != ALGORITHM {
        return Err(SignatureError::Algorithm(algorithm.chars().take(40).collect()));
    }
    let (mut access_key, mut signed_headers, mut signature) = (None, None, None);
    for part in rest.split(',') {
        let (key, value) = part.trim().split_once('=').ok_or(SignatureError::Malformed("a part has no ="))?;
        let slot = match key {
            "Access" => &mut access_key,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(SignatureError::Malformed("it has a part that does not belong there")),
        };
        if slot.replace(value.trim()).is_some() {
            return Err(SignatureError::Malformed("a part is there twice"));
        }
    }
    let access_key =
        access_key.filter(|text| !text.is_empty()).ok_or(SignatureError::Malformed("Access is missing"))?;
    let signed_headers = signed_headers.ok_or(SignatureError::Malformed("SignedHeaders is missing"))?;
    let signature = signature.ok_or(SignatureError::Malformed("Signature is missing"))?;
    Ok(Authorization {
        access_key: access_key.to_owned(),
        signed_headers: signed_header_names(signed_headers)?,
        signature: signature.to_owned(),
    })
}

fn signed_header_names(text: &str) -> Result<Vec<String>, SignatureError> {
    let names: Vec<&str> = text.split(';').collect();
    if names.len() > MAX_SIGNED_HEADERS {
        return Err(SignatureError::SignedHeaders(format!("{} names; at most {MAX_SIGNED_HEADERS}", names.len())));
    }
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if let Some(name) = names.iter().find(|name| name.is_empty() || !name.bytes().all(token)) {
        return Err(SignatureError::SignedHeaders(format!("{name:?} is not a lower-case header name")));
    }
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(SignatureError::SignedHeaders("they must be sorted, each once".to_owned()));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}
