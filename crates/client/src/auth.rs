//! Authorization: static credentials, tokens requested after a Bearer challenge, and tokens that the caller mints.
//!
//! Owns: the token cache and the reaction to a 401. Never sends a credential to an origin other than the registry's, or
//! shows one in a message or in `Debug`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use transship_oci::RepositoryName;
use transship_oci::challenge::Challenge;

use crate::error::ClientError;
use crate::transport::{Call, MAX_SMALL_BODY_BYTES, Transport};

/// Lifetime of a token if the response does not state it (the default of the token protocol).
const DEFAULT_TOKEN_LIFE: Duration = Duration::from_mins(1);
/// Maximum lifetime that is accepted.
const MAX_TOKEN_LIFE: Duration = Duration::from_hours(24);
/// A token is not used in its last seconds, because the request has to arrive before it expires.
const TOKEN_MARGIN: Duration = Duration::from_secs(20);

/// The credentials of the client at the registry.
#[derive(Clone)]
pub enum Credentials {
    /// No credentials; after a Bearer challenge, the client requests an anonymous token.
    None,
    /// A registry token from the caller, which the client cannot renew.
    Bearer(String),
    /// A user and a password: for the token endpoint, or for every request if the registry asks for Basic.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// The caller mints the tokens.
    Source(Arc<dyn TokenSource>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(..)",
            Self::Basic { .. } => "Basic(..)",
            Self::Source(_) => "Source(..)",
        })
    }
}

/// Mints registry tokens for a repository.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// Returns a token for pulling from and pushing to `repository`.
    ///
    /// It is called before every request, so a source caches its token until shortly before it expires. `fresh` is true
    /// if the registry has just refused the last token.
    async fn token(&self, repository: &RepositoryName, fresh: bool) -> Result<String, ClientError>;
}

/// The access that a request needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub(crate) repository: &'a RepositoryName,
    pub(crate) write: bool,
    /// A second repository to read from: the source of a mount.
    pub(crate) from: Option<&'a RepositoryName>,
}

impl<'a> Access<'a> {
    pub(crate) fn read(repository: &'a RepositoryName) -> Self {
        Self { repository, write: false, from: None }
    }

    pub(crate) fn write(repository: &'a RepositoryName) -> Self {
        Self { repository, write: true, from: None }
    }

    fn scopes(self) -> Vec<String> {
        let actions = if self.write { "pull,push" } else { "pull" };
        let mut scopes = vec![format!("repository:{}:{actions}", self.repository)];
        scopes.extend(self.from.map(|from| format!("repository:{from}:pull")));
        scopes
    }
}

struct CachedToken {
    header: HeaderValue,
    usable_until: Instant,
}

pub(crate) struct Authorizer {
    credentials: Credentials,
    /// Tokens by the requested scopes. The lock is held while a token is fetched, so that concurrent blobs fetch only
    /// one.
    tokens: Mutex<HashMap<String, CachedToken>>,
    /// Set when the registry has asked for Basic.
    wants_basic: AtomicBool,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credentials.fmt(f)
    }
}

impl Authorizer {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, tokens: Mutex::default(), wants_basic: AtomicBool::new(false) }
    }

    /// Returns the `Authorization` for a request; `None` if there is none yet.
    pub(crate) async fn header(&self, access: Access<'_>) -> Result<Option<HeaderValue>, ClientError> {
        match &self.credentials {
            Credentials::Bearer(token) => bearer(token).map(Some),
            Credentials::Source(source) => bearer(&source.token(access.repository, false).await?).map(Some),
            Credentials::Basic { username, password } if self.wants_basic.load(Ordering::Relaxed) => {
                basic(username, password).map(Some)
            }
            Credentials::None | Credentials::Basic { .. } => {
                let tokens = self.tokens.lock().await;
                Ok(tokens.get(&access.scopes().join(" ")).filter(|token| token.is_usable()).map(|t| t.header.clone()))
            }
        }
    }

    /// Returns a new `Authorization` after a 401 to a request that was sent with `used`; `None` if there is no other.
    pub(crate) async fn renew(
        &self,
        transport: &Transport,
        access: Access<'_>,
        refused: &Response,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, ClientError> {
        match &self.credentials {
            Credentials::Bearer(_) => Ok(None),
            Credentials::Source(source) => bearer(&source.token(access.repository, true).await?).map(Some),
            Credentials::None | Credentials::Basic { .. } => {
                self.take_challenge(transport, access, refused, used).await
            }
        }
    }

    async fn take_challenge(
        &self,
        transport: &Transport,
        access: Access<'_>,
        refused: &Response,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, ClientError> {
        let values = refused.headers().get_all(WWW_AUTHENTICATE);
        let values: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        if let Some(challenge) = values.iter().find_map(|value| value.parse::<Challenge>().ok()) {
            let mut tokens = self.tokens.lock().await;
            let key = access.scopes().join(" ");
            // Another task may have fetched a token while this one waited for the lock.
            if let Some(token) = tokens.get(&key).filter(|token| token.is_usable() && Some(&token.header) != used) {
                return Ok(Some(token.header.clone()));
            }
            let token = self.fetch(transport, access, refused.url(), &challenge).await?;
            let header = token.header.clone();
            tokens.retain(|_, token| token.is_usable());
            tokens.insert(key, token);
            return Ok(Some(header));
        }
        let asks_basic = values.iter().any(|value| value.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("basic")));
        match &self.credentials {
            Credentials::Basic { username, password } if asks_basic => {
                self.wants_basic.store(true, Ordering::Relaxed);
                let header = basic(username, password)?;
                Ok(Some(header).filter(|header| used != Some(header)))
            }
            _ => Ok(None),
        }
    }

    /// Requests a token from the endpoint in a challenge, which must be on the registry's own origin.
    async fn fetch(
        &self,
        transport: &Transport,
        access: Access<'_>,
        asked: &Url,
        challenge: &Challenge,
    ) -> Result<CachedToken, ClientError> {
        // `own_url` also accepts a relative realm. This is safe because it checks the origin of the resulting URL.
        let mut url = transport
            .own_url(asked, &challenge.realm)
            .map_err(|why| ClientError::permanent("asking for a token", format!("the challenge {why}")))?;
        url.query_pairs_mut().append_pair("service", &challenge.service);
        for scope in access.scopes() {
            url.query_pairs_mut().append_pair("scope", &scope);
        }
        let call = Call::new(Method::GET, url);
        let authorization = match &self.credentials {
            Credentials::Basic { username, password } => Some(basic(username, password)?),
            _ => None,
        };
        let asked_at = Instant::now();
        let response = transport.send(&call, authorization.as_ref()).await?;
        let response = transport.expect(&call.text(), response, &[StatusCode::OK]).await?;
        let body = transport.read(&call.text(), response, MAX_SMALL_BODY_BYTES).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            // The parser's message could contain the token.
            .map_err(|_| ClientError::permanent(call.text(), "the answer is not the JSON of a token"))?;
        let token = answer
            .access_token
            .or(answer.token)
            .ok_or_else(|| ClientError::permanent(call.text(), "the answer holds no token"))?;
        let life = answer.expires_in.map_or(DEFAULT_TOKEN_LIFE, Duration::from_secs).min(MAX_TOKEN_LIFE);
        let margin = TOKEN_MARGIN.min(life / 4);
        Ok(CachedToken { header: bearer(&token)?, usable_until: asked_at + life.saturating_sub(margin) })
    }
}

impl CachedToken {
    fn is_usable(&self) -> bool {
        Instant::now() < self.usable_until
    }
}

/// The response of a token endpoint; `access_token` takes precedence over `token`.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    secret_header(format!("Bearer {token}"))
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, ClientError> {
    secret_header(format!("Basic {}", BASE64.encode(format!("{username}:{password}"))))
}

fn secret_header(text: String) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        ClientError::permanent("authorization", "the token or password holds characters that a header cannot")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
