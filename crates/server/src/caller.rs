//! Proves who calls the management and IAM APIs. A request has exactly one of a token and a signature (contract 7; H10,
//! token confusion; H11, replayed signatures).
//!
//! Owns: reading credentials from a request and proving them, and reading no body in vain. Never: what the caller may
//! do.

use axum::body::Body;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use transship_registry::{Principal, Registry, ServiceError, TokenError};
use transship_swr::signature::{self, Authorization, SignatureError, SignedRequest};

use crate::http::context;
use crate::http::whole::{Sender, Whole, WholeBodyError, read_whole};

/// The header of a token.
const AUTH_TOKEN: &str = "x-auth-token";
/// The headers that name a scope.
const PROJECT_ID: &str = "x-project-id";
const DOMAIN_ID: &str = "x-domain-id";

/// Why a caller is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthFailure {
    /// The request has no credentials.
    #[error("authentication needed: send X-Auth-Token, or sign the request with SDK-HMAC-SHA256")]
    Missing,
    /// The request has both kinds, or one of them twice.
    #[error("send exactly one of X-Auth-Token and Authorization, once")]
    Ambiguous,
    /// The credentials are of another kind.
    #[error("this API takes X-Auth-Token or a signature SDK-HMAC-SHA256, no other Authorization")]
    OtherScheme,
    /// The token is refused.
    #[error("{}", token_text(*.0))]
    Token(TokenError),
    /// The access key or its user is unknown, disabled or expired.
    #[error(
        "Incorrect IAM authentication information: secret key of this access key cannot be obtained; it is unknown, disabled or expired here"
    )]
    AccessKey,
    /// The signature is refused.
    #[error("Incorrect IAM authentication information: {0}")]
    Signature(#[from] SignatureError),
    /// The scope that the request names is not the caller's.
    #[error("{header} is not {what} of the caller in this region; expected {expected}")]
    ForeignScope {
        /// The header.
        header: &'static str,
        /// What it names.
        what: &'static str,
        /// The caller's own.
        expected: String,
    },
    /// The service failed, for example because the catalog does not answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

const fn token_text(error: TokenError) -> &'static str {
    match error {
        TokenError::Expired => "the token has expired; renew it with POST /v3/auth/tokens",
        TokenError::Invalid => "the token is not valid here; get one with POST /v3/auth/tokens of this region",
        TokenError::Withdrawn => {
            "the token was withdrawn because its user changed; get a new one with POST /v3/auth/tokens"
        }
    }
}

/// Why a request does not reach its handler.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its sender is refused.
    #[error(transparent)]
    Caller(#[from] AuthFailure),
    /// Its body is refused.
    #[error(transparent)]
    Body(#[from] WholeBodyError),
}

/// Proves who sent a request, and reads its whole body, at most `limit_bytes`.
///
/// A head that is wrong by itself is refused before a byte of the body is read. A signature covers the body, so that
/// body is read before its sender is proved, and counts as a stranger's until then.
///
/// # Errors
/// If the caller or the body is refused.
pub async fn prove_and_read(
    registry: &Registry,
    parts: &Parts,
    body: Body,
    limit_bytes: usize,
) -> Result<(Principal, Whole), Refusal> {
    if http_body::Body::is_end_stream(&body) {
        return Ok((prove(registry, parts, &Bytes::new()).await?, Whole::empty()));
    }
    let known = check_head(registry, parts).await?;
    let sender = known.as_ref().map_or(Sender::Stranger, |principal| Sender::Proved(&principal.account_id));
    let body = read_whole(parts, body, limit_bytes, sender).await?;
    // Also checks a token again: its user may have been disabled while the body was on its way.
    let principal = prove(registry, parts, &body.bytes).await?;
    let body = match sender {
        Sender::Stranger => body.hand_over(parts, &principal.account_id)?,
        Sender::Proved(_) => body,
    };
    Ok((principal, body))
}

/// Refuses a head that no body can make valid; returns the caller if the head alone proves it.
async fn check_head(registry: &Registry, parts: &Parts) -> Result<Option<Principal>, AuthFailure> {
    match credentials(parts)? {
        Credentials::Token(_) => Ok(Some(prove(registry, parts, &Bytes::new()).await?)),
        Credentials::Signature(authorization) => {
            let attempt = registry.identity().begin_attempt(context::client(), &authorization.access_key)?;
            if registry.identity().access_key(&authorization.access_key).await?.is_none() {
                registry.identity().end_attempt(attempt, false);
                return Err(AuthFailure::AccessKey);
            }
            signature::check_head(signed_request(parts), &authorization, jiff::Timestamp::now().as_second())?;
            Ok(None)
        }
    }
}

/// Proves who sent a request, from its head and its whole body.
///
/// # Errors
/// If the caller is refused.
pub async fn prove(registry: &Registry, parts: &Parts, body: &Bytes) -> Result<Principal, AuthFailure> {
    let principal = match credentials(parts)? {
        Credentials::Token(token) => registry.identity().verify_iam_token(token).await?.map_err(AuthFailure::Token)?,
        Credentials::Signature(authorization) => verify_signature(registry, parts, body, &authorization).await?,
    };
    context::set_caller(&principal);
    check_scope(registry, parts, &principal)?;
    Ok(principal)
}

#[derive(Debug, PartialEq, Eq)]
enum Credentials<'a> {
    Token(&'a str),
    Signature(Authorization),
}

fn credentials(parts: &Parts) -> Result<Credentials<'_>, AuthFailure> {
    let tokens: Vec<_> = parts.headers.get_all(AUTH_TOKEN).iter().collect();
    let authorizations: Vec<_> = parts.headers.get_all(AUTHORIZATION).iter().collect();
    match (tokens.as_slice(), authorizations.as_slice()) {
        ([], []) => Err(AuthFailure::Missing),
        ([token], []) => {
            let token = token.to_str().map(str::trim).map_err(|_| AuthFailure::Token(TokenError::Invalid))?;
            if token.is_empty() { Err(AuthFailure::Missing) } else { Ok(Credentials::Token(token)) }
        }
        ([], [authorization]) => {
            let text = authorization.to_str().map_err(|_| AuthFailure::OtherScheme)?;
            match signature::parse_authorization(text) {
                // Names of the SDKs' other algorithms have a hyphen; one without is another scheme, such as Basic or
                // Bearer.
                Err(SignatureError::Algorithm(name)) if !name.contains('-') => Err(AuthFailure::OtherScheme),
                parsed => Ok(Credentials::Signature(parsed?)),
            }
        }
        _ => Err(AuthFailure::Ambiguous),
    }
}

async fn verify_signature(
    registry: &Registry,
    parts: &Parts,
    body: &Bytes,
    authorization: &Authorization,
) -> Result<Principal, AuthFailure> {
    let attempt = registry.identity().begin_attempt(context::client(), &authorization.access_key)?;
    let Some((principal, secret)) = registry.identity().access_key(&authorization.access_key).await? else {
        registry.identity().end_attempt(attempt, false);
        return Err(AuthFailure::AccessKey);
    };
    let now = jiff::Timestamp::now().as_second();
    let verified = signature::verify(signed_request(parts), authorization, &signature::hash(body), &secret, now);
    // A wrong clock or a missing header does not tell whether the caller knows the key.
    if matches!(verified, Ok(()) | Err(SignatureError::Mismatch { .. })) {
        registry.identity().end_attempt(attempt, verified.is_ok());
    }
    verified?;
    Ok(principal)
}

fn signed_request(parts: &Parts) -> SignedRequest<'_> {
    SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
    }
}

/// Checks the scope; a request without one is for the project named like the region (contract 7.2).
fn check_scope(registry: &Registry, parts: &Parts, principal: &Principal) -> Result<(), AuthFailure> {
    let project = registry.identity().project_of(principal).id;
    for (header, what, expected) in
        [(PROJECT_ID, "the project", project), (DOMAIN_ID, "the account", principal.account_id.clone())]
    {
        if parts.headers.get_all(header).iter().any(|value| value.as_bytes() != expected.as_bytes()) {
            return Err(AuthFailure::ForeignScope { header, what, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
