//! The three kinds of token. None is accepted as another, because each kind has its own key (contract 7.1, 7.6; H10).
//!
//! * A registry token opens repositories on `/v2/…`, lives minutes, and is verified without the catalog.
//! * An IAM token opens the management API, lives a day, and is checked against the catalog at each use.
//! * A region token proves one region, and a user of it, to another; the region's identity signs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use transship_oci::{Action, RegionId, RepositoryName, Scope};

use crate::access::policy::Principal;
use crate::access::token_grant::Grant;
use crate::error::ServiceError;
use crate::identity::logins::ProvedLogin;
use crate::identity::service::Identity;

mod verified;
mod verify;

pub(crate) use verified::VerifiedTokens;
pub use verify::TokenError;
pub(crate) use verify::{Claims, Expected, now_seconds, unverified_issuer, unverified_key_id, verify};

/// Lifetime of a region token, which is used at once: enough for a slow link and for clocks that differ.
///
/// The verifying region refuses tokens that live longer.
pub(crate) const REGION_TOKEN_SECONDS: u64 = 300;

/// A newly issued token.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token itself.
    pub token: String,
    /// When it was made, seconds since 1970.
    pub issued_at_seconds: u64,
    /// When it expires, seconds since 1970.
    pub expires_at_seconds: u64,
}

impl IssuedToken {
    /// Its whole lifetime in seconds.
    pub const fn life_seconds(&self) -> u64 {
        self.expires_at_seconds - self.issued_at_seconds
    }
}

#[derive(Serialize, Deserialize)]
struct RegistryClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    access: Vec<Scope>,
    #[serde(default)]
    namespaces: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    principal: Option<Principal>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    via: Option<RegionId>,
}

#[derive(Serialize, Deserialize)]
struct IamClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    /// The user's epoch when the login was proved; any change of password or state raises it.
    epoch: i64,
}

impl Claims for RegistryClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

impl Claims for IamClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

/// The audience of IAM tokens.
const IAM_AUDIENCE: &str = "management";

impl Identity {
    /// Issues a registry token: for each scope, the requested actions that are allowed (registry-protocol 35).
    ///
    /// # Errors
    /// [`ServiceError::NamespaceAbsent`] if a known user requests scopes and none of their namespaces exists.
    pub async fn issue_registry_token(
        &self,
        principal: Option<&Principal>,
        scopes: &[Scope],
    ) -> Result<IssuedToken, ServiceError> {
        let mut access = Vec::new();
        let mut namespaces = BTreeMap::new();
        let mut absent = None;
        let mut known = false;
        for scope in scopes {
            let Some(name) = scope.repository_name() else { continue };
            let has = self.access.effective_access(&name, principal).await?;
            let Some(namespace) = &has.namespace else {
                absent.get_or_insert_with(|| self.access.namespace_absent(name.namespace()));
                continue;
            };
            known = true;
            let actions: Vec<Action> = [Action::Pull, Action::Push, Action::Delete]
                .into_iter()
                .filter(|action| scope.allows(*action) && has.allows(*action))
                .collect();
            if !actions.is_empty() {
                // Two scopes may be judged at different times; the first id stays, so that the older judgement counts.
                namespaces.entry(name.namespace().to_string()).or_insert(namespace.id);
                access.push(Scope::repository(&name, &actions));
            }
        }
        if let Some(absent) = absent.filter(|_| principal.is_some() && !known) {
            return Err(absent);
        }
        Ok(self.registry_token(principal.cloned(), None, access, namespaces))
    }

    /// Issues the token that another region gets: pull and push on exactly one repository, in the name of one user.
    ///
    /// The registry API refuses the requests among these that a copy does not need.
    pub(crate) fn issue_peer_token(
        &self,
        principal: Principal,
        via: RegionId,
        name: &RepositoryName,
        namespace_id: i64,
    ) -> IssuedToken {
        let access = vec![Scope::repository(name, &[Action::Pull, Action::Push])];
        let namespaces = BTreeMap::from([(name.namespace().to_string(), namespace_id)]);
        self.registry_token(Some(principal), Some(via), access, namespaces)
    }

    fn registry_token(
        &self,
        principal: Option<Principal>,
        via: Option<RegionId>,
        access: Vec<Scope>,
        namespaces: BTreeMap<String, i64>,
    ) -> IssuedToken {
        let iat = now_seconds();
        let life = self.settings().registry_token_seconds;
        let exp = iat + if via.is_some() { life.min(REGION_TOKEN_SECONDS) } else { life };
        let claims = RegistryClaims {
            iss: self.settings().region.to_string(),
            aud: self.settings().service.clone(),
            sub: principal.as_ref().map_or_else(String::new, |p| p.user_id.clone()),
            iat,
            nbf: iat,
            exp,
            jti: token_id(),
            access,
            namespaces,
            principal,
            via,
        };
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys().registry_token().signing)
                .expect("claims are plain data, which always serialises");
        IssuedToken { token, issued_at_seconds: iat, expires_at_seconds: exp }
    }

    /// Verifies a registry token, without the catalog: its short lifetime is what limits it.
    pub fn verify_registry_token(&self, token: &str) -> Result<Arc<Grant>, TokenError> {
        if let Some(grant) = self.verified_tokens().get(token) {
            return self.still_accepted(grant);
        }
        let settings = self.settings();
        let expected =
            Expected { algorithm: Algorithm::HS256, issuer: settings.region.as_str(), audience: &settings.service };
        let claims: RegistryClaims = verify(token, &self.keys().registry_token().verifying, expected)?;
        let RegistryClaims { principal, via, access, namespaces, iat, exp, .. } = claims;
        let grant = Arc::new(Grant::of_token(principal, via, access, namespaces));
        self.verified_tokens().keep(token, &grant, iat, exp);
        self.still_accepted(grant)
    }

    /// Refuses a region's token once its `[[peer]]` entry is gone or says `accept = false`.
    fn still_accepted(&self, grant: Arc<Grant>) -> Result<Arc<Grant>, TokenError> {
        match &grant.via {
            Some(via) if !self.settings().peers.iter().any(|peer| peer.id == *via && peer.accept) => {
                Err(TokenError::Withdrawn)
            }
            _ => Ok(grant),
        }
    }

    /// Verifies the registry token of a call between regions, which was issued in exchange for a region token.
    ///
    /// # Errors
    /// [`ServiceError::Denied`] for every other registry token; the inner error if the token is invalid.
    pub fn verify_copy_token(&self, token: &str) -> Result<Result<Arc<Grant>, TokenError>, ServiceError> {
        match self.verify_registry_token(token) {
            Ok(grant) if grant.via.is_none() => Err(ServiceError::Denied(
                "only a token that was given to a region for a copy opens the calls between regions".to_owned(),
            )),
            verified => Ok(verified),
        }
    }

    /// The grant of every caller in an open region: all rights, in an administrator's name. `None` in any other region.
    pub async fn open_grant(&self) -> Result<Option<Arc<Grant>>, ServiceError> {
        if !self.settings().access.open {
            return Ok(None);
        }
        let ask = async || self.first_administrator().await;
        let principal = self.open_principal_cache().get(self.catalog(), "", ask).await?;
        Ok(Some(Arc::new(Grant::of_open_region((*principal).clone()))))
    }

    /// Issues an IAM token (contract 7.1) for a login, as it was when it was proved.
    pub fn issue_iam_token(&self, login: &ProvedLogin) -> IssuedToken {
        let iat = now_seconds();
        let exp = iat + self.settings().iam_token_seconds;
        let claims = IamClaims {
            iss: self.settings().region.to_string(),
            aud: IAM_AUDIENCE.to_owned(),
            sub: login.principal.user_id.clone(),
            iat,
            exp,
            jti: token_id(),
            epoch: login.user_epoch,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys().iam_token().signing)
            .expect("claims are plain data, which always serialises");
        IssuedToken { token, issued_at_seconds: iat, expires_at_seconds: exp }
    }

    /// Verifies an IAM token, and checks that its user has not changed since.
    ///
    /// # Errors
    /// The outer error if the catalog does not answer, the inner one if the token is refused.
    pub async fn verify_iam_token(&self, token: &str) -> Result<Result<Principal, TokenError>, ServiceError> {
        let issuer = self.settings().region.as_str();
        let expected = Expected { algorithm: Algorithm::HS256, issuer, audience: IAM_AUDIENCE };
        let claims: IamClaims = match verify(token, &self.keys().iam_token().verifying, expected) {
            Ok(claims) => claims,
            Err(error) => return Ok(Err(error)),
        };
        let user = self.catalog().find_user_by_id(&claims.sub).await?;
        Ok(match user {
            Some(user) if user.enabled && user.epoch == claims.epoch => Ok(user.into()),
            _ => Err(TokenError::Withdrawn),
        })
    }
}

pub(crate) fn token_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests;
