//! Temporary registry logins: contract 5.9, 7.5.

use ::http::{HeaderName, HeaderValue, header};
use base64::Engine as _;

use super::error::ManageError;
use super::{Answer, Call, answer};
use crate::caller::prove;
use transship_swr::account::{AuthInfo, CreateSecretResponse};
use transship_swr::query::bad_query;
use transship_swr::signature;

/// Lifetimes that a caller may choose, in seconds (contract 5.9).
const DURATIONS: std::ops::RangeInclusive<u64> = 900..=86_400;

const DOCKER_LOGIN: HeaderName = HeaderName::from_static("x-swr-dockerlogin");
const EXPIRE_AT: HeaderName = HeaderName::from_static("x-swr-expireat");

/// `POST /v2/manage/utils/secret?projectname=&duration_seconds=`: 200, contract 5.9.
///
/// The answer holds one credential twice: a login command in a header, and docker's configuration as the body.
pub(super) async fn create_secret(call: &Call) -> Answer {
    let region = call.registry.settings().region.as_str();
    let project = call.query.get("projectname").unwrap_or(region);
    if !call.registry.identity().is_own_project(project) || !project.bytes().all(is_project_byte) {
        return Err(bad_query("projectname", project, &format!("{region}, the project of this region")).into());
    }
    let life_seconds = match call.query.get("duration_seconds") {
        None => None,
        Some(text) => {
            let expected = format!("a number of seconds from {} to {}", DURATIONS.start(), DURATIONS.end());
            let seconds = text.parse::<u64>().ok().filter(|seconds| DURATIONS.contains(seconds));
            Some(seconds.ok_or_else(|| bad_query("duration_seconds", text, &expected))?)
        }
    };
    // Proves the caller again after the basis was read, so that no login is made from credentials withdrawn meanwhile.
    let signed = call.parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let signed = signed.and_then(|text| signature::parse_authorization(text).ok());
    let access_key = signed.as_ref().map(|authorization| authorization.access_key.as_str());
    let basis = call.registry.identity().login_basis(&call.principal, access_key).await?;
    prove(&call.registry, &call.parts, &call.body).await?;
    let login = call.registry.identity().create_login(&basis, life_seconds).await?;
    let host = &call.registry.settings().registry_host;
    let access_key = login.user.rsplit_once('@').map_or(login.user.as_str(), |(_, access_key)| access_key);
    let user = format!("{project}@{access_key}");
    let command = format!("docker login -u {user} -p {} {host}", login.password);
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", login.password));
    let auths = [(host.clone(), AuthInfo { auth })].into();
    let mut response = answer::with(&CreateSecretResponse { auths });
    let headers = response.headers_mut();
    let mut command = HeaderValue::try_from(command).map_err(|error| ManageError::internal(&error.to_string()))?;
    command.set_sensitive(true);
    headers.insert(DOCKER_LOGIN, command);
    if let Ok(at) = HeaderValue::try_from(answer::time(login.expires_at_ms)) {
        headers.insert(EXPIRE_AT, at);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The login command is pasted into shells, so the name of a project must not need quoting.
const fn is_project_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests;
