//! Whether a token is valid: its signature, its times, its audience and its issuer.
//!
//! Owns: that check, the same for each kind of token. Never: keys, and what a token allows. It uses nothing else of
//! this crate, because the fuzz targets build this file by itself.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Maximum difference between the clocks of two machines.
pub(crate) const LEEWAY_SECONDS: u64 = 30;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was valid once.
    #[error("the token has expired; get a new one")]
    Expired,
    /// It is not one of ours, is of another kind, or is damaged.
    #[error("the token is not valid here")]
    Invalid,
    /// The user behind it was disabled, or its password or key changed.
    #[error("the token was withdrawn; log in again")]
    Withdrawn,
}

/// The claims that every kind of token has.
pub(crate) trait Claims: DeserializeOwned {
    /// When it was made, seconds since 1970.
    fn issued_at_seconds(&self) -> u64;
}

/// The issuer, algorithm and audience that a token must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
}

/// The claims of a token that this key has signed and that is valid now.
///
/// We choose the key and the algorithm. The key fields in the token's header (`kid`, `jwk`, `jku`, `x5u`, `x5c`) have
/// no effect. A token with `crit`, extensions that must be understood, is refused (bad-inputs G).
pub(crate) fn verify<T: Claims>(token: &str, key: &DecodingKey, expected: Expected<'_>) -> Result<T, TokenError> {
    let mut validation = Validation::new(expected.algorithm);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_audience(&[expected.audience]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    let data = jsonwebtoken::decode::<T>(token, key, &validation).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        _ => TokenError::Invalid,
    })?;
    let is_from_the_future = data.claims.issued_at_seconds() > now_seconds().saturating_add(LEEWAY_SECONDS);
    if data.header.crit.is_some() || is_from_the_future {
        return Err(TokenError::Invalid);
    }
    Ok(data.claims)
}

/// The issuer that a token claims, only to choose the pinned key that must then verify it.
pub(crate) fn unverified_issuer(token: &str) -> Option<String> {
    use base64::Engine as _;
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let payload = token.split('.').nth(1)?;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Issuer>(&json).ok().map(|claims| claims.iss)
}

/// The key id that a token claims. It proves nothing; it only tells people which key was refused.
pub(crate) fn unverified_key_id(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
