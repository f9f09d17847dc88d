//! From an `Authorization` header to a grant, or to the challenge that tells a client where to get one.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use ::http::request::Parts;
use ::http::uri::Authority;
use ::http::{Method, StatusCode};
use transship_oci::challenge::{INSUFFICIENT_SCOPE, INVALID_TOKEN};
use transship_oci::{Action, Challenge, ErrorCode, RepositoryName, Route, Scope};
use transship_registry::{Grant, Registry};

use super::Call;
use super::error::OciError;
use super::query::Query;
use super::token;

/// Who sent a request: nobody, or the holder of a token that verifies.
pub(super) struct Caller {
    grant: Option<Arc<Grant>>,
}

impl Caller {
    /// Reads the token of a request. Basic directly on `/v2/…` is refused (contract 7.6).
    pub(super) async fn of(registry: &Registry, parts: &Parts) -> Result<Self, OciError> {
        if registry.settings().access.open && names_loopback(parts) {
            return Ok(Self { grant: registry.identity().open_grant().await? });
        }
        let Some(value) = parts.headers.get(AUTHORIZATION) else { return Ok(Self { grant: None }) };
        let token = value.to_str().ok().and_then(bearer);
        match token.map(|token| registry.identity().verify_registry_token(token)) {
            // Anonymous access was switched off after this token was made.
            Some(Ok(grant)) if grant.principal.is_none() && !registry.settings().access.anonymous_pull => {
                Ok(Self { grant: None })
            }
            Some(Ok(grant)) => {
                if let Some(principal) = &grant.principal {
                    crate::http::context::set_caller(principal);
                }
                Ok(Self { grant: Some(grant) })
            }
            Some(Err(_)) => {
                let scope = Route::parse(parts.uri.path()).ok().and_then(|route| scope_of(&route, parts));
                Err(challenge(registry, scope.as_deref(), Some(INVALID_TOKEN)))
            }
            None => Err(challenge(registry, None, None)),
        }
    }

    pub(super) const fn is_nobody(&self) -> bool {
        self.grant.is_none()
    }

    /// Returns the grant if it carries the right that the route needs.
    ///
    /// Every other caller gets the same challenge, whether the repository exists or not (H3, no existence oracle).
    pub(super) fn grant(self, registry: &Registry, route: &Route, parts: &Parts) -> Result<Arc<Grant>, OciError> {
        let refused = |error| challenge(registry, scope_of(route, parts).as_deref(), error);
        let Some(grant) = self.grant else { return Err(refused(None)) };
        match route.name().zip(super::needed_action(route, &parts.method)) {
            Some((name, action)) if !grant.allows(name, action) => Err(refused(Some(INSUFFICIENT_SCOPE))),
            _ if grant.via.is_some() && !is_part_of_a_copy(route, &parts.method) => Err(OciError::new(
                StatusCode::FORBIDDEN,
                ErrorCode::Denied,
                format!("the token was given to a region for a copy to {}, and opens nothing else", grant.scope()),
            )),
            _ => Ok(grant),
        }
    }
}

/// Whether a request is part of a copy from another region: an upload, a manifest to write, or a check whether
/// something exists. None of these reads content, so a compromised region gets none this way.
fn is_part_of_a_copy(route: &Route, method: &Method) -> bool {
    match route {
        Route::Base | Route::UploadStart { .. } | Route::Upload { .. } => true,
        Route::Manifest { .. } => method == Method::HEAD || method == Method::PUT,
        Route::Blob { .. } => method == Method::HEAD,
        Route::Catalog | Route::TagsList { .. } | Route::Referrers { .. } => false,
    }
}

/// The challenge to a token whose organization was deleted and made again: a new token is checked against the new one.
pub(super) fn outdated(call: &Call) -> OciError {
    let scope = Route::parse(call.parts.uri.path()).ok().and_then(|route| scope_of(&route, &call.parts));
    challenge(&call.registry, scope.as_deref(), Some(INVALID_TOKEN))
}

/// The challenge to a token that lacks the right that a request needs.
pub(super) fn insufficient(call: &Call) -> OciError {
    let scope = Route::parse(call.parts.uri.path()).ok().and_then(|route| scope_of(&route, &call.parts));
    challenge(&call.registry, scope.as_deref(), Some(INSUFFICIENT_SCOPE))
}

/// Whether a request was sent to this machine by a loopback name. A page in a browser can reach it by another name that
/// resolves here, and must not get what an open region gives.
fn names_loopback(parts: &Parts) -> bool {
    let header = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| parts.uri.authority().map(Authority::as_str)).is_some_and(is_loopback)
}

/// Whether `host[:port]` is a loopback name.
fn is_loopback(authority: &str) -> bool {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The challenge to a mount whose token lacks the source, for a user who may pull there.
pub(super) fn ask_for_more(call: &Call, name: &RepositoryName) -> OciError {
    let scope = scope_of(&Route::UploadStart { name: name.clone() }, &call.parts);
    challenge(&call.registry, scope.as_deref(), Some(INSUFFICIENT_SCOPE))
}

/// The token of `Bearer …`.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// 401 with the Bearer challenge. The realm comes from the configuration, never from a `Host` header.
pub(super) fn challenge(registry: &Registry, scope: Option<&str>, error: Option<&str>) -> OciError {
    let settings = registry.settings();
    let challenge = Challenge {
        realm: format!("{}{}", settings.public_url, token::PATH),
        service: settings.service.clone(),
        scope: scope.map(str::to_owned),
        error: error.map(str::to_owned),
    };
    let message = match (scope, error) {
        (Some(scope), Some(INSUFFICIENT_SCOPE)) => {
            format!("the token does not allow {scope}; log in as a user who may")
        }
        (_, Some(_)) => "the token is not valid here or has expired; log in again".to_owned(),
        _ => "authentication is required; log in, or get a token where the challenge says".to_owned(),
    };
    let code = if error == Some(INSUFFICIENT_SCOPE) { ErrorCode::Denied } else { ErrorCode::Unauthorized };
    OciError::new(StatusCode::UNAUTHORIZED, code, message).with(WWW_AUTHENTICATE, challenge.to_string())
}

/// The scope that a token for this request needs. A mount also reads its source, so its scope names both repositories
/// (registry-protocol, quirk 3).
fn scope_of(route: &Route, parts: &Parts) -> Option<String> {
    let (name, action) = route.name().zip(super::needed_action(route, &parts.method))?;
    let mut scopes = scope_for(name, action).to_string();
    if matches!(route, Route::UploadStart { .. }) {
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        let from = query.first("from").filter(|_| query.first("mount").is_some());
        if let Some(from) = from.and_then(|from| from.parse::<RepositoryName>().ok()) {
            scopes.push(' ');
            scopes.push_str(&scope_for(&from, Action::Pull).to_string());
        }
    }
    Some(scopes)
}

/// A push needs pull too: clients first check whether a blob exists.
fn scope_for(name: &RepositoryName, action: Action) -> Scope {
    match action {
        Action::Push => Scope::repository(name, &[Action::Pull, Action::Push]),
        action => Scope::repository(name, &[action]),
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_and_addresses_are_loopback() {
        for own in [
            "localhost",
            "localhost:80",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:443",
            "::1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        for other in
            ["", "localhost.example", "a@localhost", "127.0.0.1.example:80", "10.0.0.1:80", "[::2]:80", "::1:x", "[::1"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
