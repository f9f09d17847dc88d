//! Who calls the management and IAM APIs: exactly one of a token and a signature (contract 7; H10, H11).
//!
//! Owns: reading credentials off a request and proving them. Never: what the caller may do.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use transship_registry::{Principal, Registry, ServiceError, TokenError};

use super::context;
use super::manage_error::{ManageCode, ManageError};
use crate::signature::{self, Authorization, SignatureError, SignedRequest};

/// The header of a token.
const AUTH_TOKEN: &str = "x-auth-token";
/// The headers that name a scope.
const PROJECT_ID: &str = "x-project-id";
const DOMAIN_ID: &str = "x-domain-id";

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthFailure {
    /// Nothing was sent to prove anything with.
    #[error("authentication needed: send X-Auth-Token, or sign the request with SDK-HMAC-SHA256")]
    Missing,
    /// Both kinds were sent, or one of them twice.
    #[error("send exactly one of X-Auth-Token and Authorization, once")]
    Ambiguous,
    /// Another kind of credentials.
    #[error("this API takes X-Auth-Token or a signature SDK-HMAC-SHA256, no other Authorization")]
    OtherScheme,
    /// The token is refused.
    #[error("{}", token_text(*.0))]
    Token(TokenError),
    /// The access key is unknown, switched off or expired, or its user is.
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
    /// The catalog does not answer, or worse.
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

impl From<AuthFailure> for ManageError {
    fn from(failure: AuthFailure) -> Self {
        let code = match failure {
            AuthFailure::Missing | AuthFailure::Ambiguous | AuthFailure::OtherScheme | AuthFailure::Token(_) => {
                ManageCode::Unauthenticated
            }
            AuthFailure::AccessKey | AuthFailure::Signature(_) => ManageCode::BadSignature,
            AuthFailure::ForeignScope { .. } => ManageCode::Forbidden,
            AuthFailure::Service(error) => return error.into(),
        };
        Self::new(code, failure.to_string())
    }
}

/// Proves who sent a management call, from its head and its whole body (signatures cover the body).
///
/// # Errors
/// A ready answer in the shape of the management API: 401 when nothing is proved, 403 for a project of somebody else.
pub async fn authenticate(registry: &Registry, parts: &Parts, body: &Bytes) -> Result<Principal, ManageError> {
    Ok(prove(registry, parts, body).await?)
}

/// The same for callers that have an error shape of their own.
///
/// # Errors
/// Why the caller is not let in.
pub async fn prove(registry: &Registry, parts: &Parts, body: &Bytes) -> Result<Principal, AuthFailure> {
    let principal = match credentials(parts)? {
        Credentials::Token(token) => registry.verify_iam_token(token).await?.map_err(AuthFailure::Token)?,
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
                // Other algorithms of the SDKs end in a hash name; Basic and Bearer are another door altogether.
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
    let attempt = registry.begin_attempt(context::client(), &authorization.access_key)?;
    let Some((principal, secret)) = registry.access_key(&authorization.access_key).await? else {
        registry.end_attempt(attempt, false);
        return Err(AuthFailure::AccessKey);
    };
    let request = SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
    };
    let now = jiff::Timestamp::now().as_second();
    let verified = signature::verify(request, authorization, &signature::hash(body), &secret, now);
    // A clock that is wrong, or a header that is missing, says nothing about whether the key is known.
    if matches!(verified, Ok(()) | Err(SignatureError::Mismatch { .. })) {
        registry.end_attempt(attempt, verified.is_ok());
    }
    verified?;
    Ok(principal)
}

/// A scope may be left out; then it is the project named like the region (contract 7.2).
fn check_scope(registry: &Registry, parts: &Parts, principal: &Principal) -> Result<(), AuthFailure> {
    let project = registry.project_of(principal).id;
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
