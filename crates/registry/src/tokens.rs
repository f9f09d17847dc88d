//! The three kinds of token, and why none passes for another: each kind has its own key (contract 7.1, 7.6; H10).
//!
//! * a registry token opens repositories on `/v2/…`, lives minutes, and needs no look-up;
//! * an IAM token opens the management API, lives a day, and is checked against the catalog at each use;
//! * a region token proves one region, and a user of it, to another; it is signed with the region's identity.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::{Deserialize, Serialize};
use transship_oci::{Action, Digest, RegionId, RepositoryName, Scope};

use crate::access::Principal;
use crate::settings::Peer;
use crate::{Registry, ServiceError};

mod verified;
mod verify;

pub(crate) use verified::VerifiedTokens;
pub use verify::TokenError;
use verify::unverified_issuer;
pub(crate) use verify::{Claims, Expected, now_seconds, verify};

/// A region token is used at once; this covers a slow link and clocks that differ.
const REGION_TOKEN_SECONDS: u64 = 300;
/// The purpose of a token that opens a repository of the target for a copy.
const PURPOSE_REPLICATE: &str = "replicate";
/// The purpose of a token that asks for one lost blob.
const PURPOSE_REPAIR: &str = "repair";

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token itself.
    pub token: String,
    /// When it was made, seconds since 1970.
    pub issued_at_seconds: u64,
    /// When it ends, seconds since 1970.
    pub expires_at_seconds: u64,
}

impl IssuedToken {
    /// Its whole life in seconds.
    pub const fn life_seconds(&self) -> u64 {
        self.expires_at_seconds - self.issued_at_seconds
    }
}

/// What a verified registry token allows.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who holds it; nobody for an anonymous token.
    pub principal: Option<Principal>,
    /// The region that pushes, when the token was given to a region and not to a client.
    pub via: Option<RegionId>,
    access: Vec<Scope>,
    /// Everything on every repository: what an open region gives.
    everything: bool,
}

impl Grant {
    /// Whether the token itself carries this right.
    pub fn allows(&self, name: &RepositoryName, action: Action) -> bool {
        let allows = |scope: &Scope| {
            scope.kind == "repository" && scope.name == name.as_str() && scope.actions.contains(&action)
        };
        self.everything || self.access.iter().any(allows)
    }

    /// Everything that the token carries, as one `scope` parameter.
    pub fn scope(&self) -> String {
        self.access.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Whether this is the grant of an open region.
    pub const fn may_do_everything(&self) -> bool {
        self.everything
    }

    /// Whether the token names this repository, with whatever rights.
    pub fn speaks_of(&self, name: &RepositoryName) -> bool {
        self.access.iter().any(|scope| scope.kind == "repository" && scope.name == name.as_str())
    }

    /// What upload sessions are bound to: the user, or nothing for nobody.
    pub fn user_id(&self) -> &str {
        self.principal.as_ref().map_or("", |principal| &principal.user_id)
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
    /// The user's epoch when the token was made; any change of password or state raises it.
    epoch: i64,
}

/// What a region says of itself and its user; names, because ids differ between regions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RegionClaims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    purpose: String,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) namespace: String,
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

impl Claims for RepairClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

impl Claims for RegionClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

/// What a region says that has lost a blob: which one, and who links it there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RepairClaims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    purpose: String,
    pub(crate) digest: Digest,
    pub(crate) accounts: Vec<String>,
}

/// The audience of IAM tokens.
const IAM_AUDIENCE: &str = "management";

impl Registry {
    /// Issues a registry token: for each scope, what was asked for and is allowed (registry-protocol 35).
    ///
    /// # Errors
    /// [`ServiceError::NamespaceAbsent`] when scopes were asked for and none of their namespaces exists.
    pub async fn issue_registry_token(
        &self,
        principal: Option<&Principal>,
        scopes: &[Scope],
    ) -> Result<IssuedToken, ServiceError> {
        let mut access = Vec::new();
        let mut absent = None;
        let mut known = false;
        for scope in scopes {
            let Some(name) = scope.repository_name() else { continue };
            let has = self.effective_access(&name, principal).await?;
            if has.namespace.is_none() {
                absent.get_or_insert_with(|| self.namespace_absent(name.namespace()));
                continue;
            }
            known = true;
            let actions: Vec<Action> = [Action::Pull, Action::Push, Action::Delete]
                .into_iter()
                .filter(|action| scope.allows(*action) && has.allows(*action))
                .collect();
            if !actions.is_empty() {
                access.push(Scope::repository(&name, &actions));
            }
        }
        if let Some(absent) = absent.filter(|_| principal.is_some() && !known) {
            return Err(absent);
        }
        Ok(self.registry_token(principal.cloned(), None, access))
    }

    /// The token that another region gets: pull and push on exactly one repository, in the name of one user.
    pub(crate) fn issue_peer_token(&self, principal: Principal, via: RegionId, name: &RepositoryName) -> IssuedToken {
        let access = vec![Scope::repository(name, &[Action::Pull, Action::Push])];
        self.registry_token(Some(principal), Some(via), access)
    }

    fn registry_token(&self, principal: Option<Principal>, via: Option<RegionId>, access: Vec<Scope>) -> IssuedToken {
        let iat = now_seconds();
        let exp = iat + self.settings().registry_token_seconds;
        let claims = RegistryClaims {
            iss: self.settings().region.to_string(),
            aud: self.settings().service.clone(),
            sub: principal.as_ref().map_or_else(String::new, |p| p.user_id.clone()),
            iat,
            nbf: iat,
            exp,
            jti: token_id(),
            access,
            principal,
            via,
        };
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys().registry_token().signing)
                .expect("claims are plain data, which always serialises");
        IssuedToken { token, issued_at_seconds: iat, expires_at_seconds: exp }
    }

    /// Verifies a registry token. No look-up: its short life is what limits it.
    pub fn verify_registry_token(&self, token: &str) -> Result<Arc<Grant>, TokenError> {
        if let Some(grant) = self.verified_tokens().get(token) {
            return Ok(grant);
        }
        let settings = self.settings();
        let expected =
            Expected { algorithm: Algorithm::HS256, issuer: settings.region.as_str(), audience: &settings.service };
        let claims: RegistryClaims = verify(token, &self.keys().registry_token().verifying, expected)?;
        let RegistryClaims { principal, via, access, iat, exp, .. } = claims;
        let grant = Arc::new(Grant { principal, via, access, everything: false });
        self.verified_tokens().keep(token, &grant, iat, exp);
        Ok(grant)
    }

    /// What everybody gets in an open region: all rights, in the name of an administrator. `None` in any other region.
    pub async fn open_grant(&self) -> Result<Option<Arc<Grant>>, ServiceError> {
        if !self.settings().access.open {
            return Ok(None);
        }
        let ask = async || self.first_administrator().await;
        let principal = self.open_principal_cache().get(self.catalog(), "", ask).await?;
        let grant = Grant { principal: Some((*principal).clone()), via: None, access: Vec::new(), everything: true };
        Ok(Some(Arc::new(grant)))
    }

    /// Issues an IAM token (contract 7.1).
    pub async fn issue_iam_token(&self, principal: &Principal) -> Result<IssuedToken, ServiceError> {
        let user = self.catalog().find_user_by_id(&principal.user_id).await?;
        let user = user.ok_or_else(|| ServiceError::UserAbsent(principal.user_name.clone()))?;
        let iat = now_seconds();
        let exp = iat + self.settings().iam_token_seconds;
        let claims = IamClaims {
            iss: self.settings().region.to_string(),
            aud: IAM_AUDIENCE.to_owned(),
            sub: user.id,
            iat,
            exp,
            jti: token_id(),
            epoch: user.epoch,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys().iam_token().signing)
            .expect("claims are plain data, which always serialises");
        Ok(IssuedToken { token, issued_at_seconds: iat, expires_at_seconds: exp })
    }

    /// Verifies an IAM token, and that its user is still as it was.
    ///
    /// # Errors
    /// The outer error when the catalog does not answer, the inner one when the token is refused.
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

    /// Makes the proof that this region acts for `principal` on a namespace of `target`.
    pub(crate) fn mint_region_token(&self, target: &RegionId, account: &str, user: &str, namespace: &str) -> String {
        let iat = now_seconds();
        let claims = RegionClaims {
            iss: self.settings().region.to_string(),
            aud: target.to_string(),
            iat,
            exp: iat + REGION_TOKEN_SECONDS,
            jti: token_id(),
            purpose: PURPOSE_REPLICATE.to_owned(),
            account: account.to_owned(),
            user: user.to_owned(),
            namespace: namespace.to_owned(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, self.keys().region_signing())
            .expect("claims are plain data, which always serialises")
    }

    /// Makes the proof that this region asks `target` for one blob, which these accounts link here.
    pub(crate) fn mint_repair_token(&self, target: &RegionId, digest: &Digest, accounts: &[String]) -> String {
        let iat = now_seconds();
        let claims = RepairClaims {
            iss: self.settings().region.to_string(),
            aud: target.to_string(),
            iat,
            exp: iat + REGION_TOKEN_SECONDS,
            jti: token_id(),
            purpose: PURPOSE_REPAIR.to_owned(),
            digest: digest.clone(),
            accounts: accounts.to_vec(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, self.keys().region_signing())
            .expect("claims are plain data, which always serialises")
    }

    /// Verifies a repair token against the pinned key of the region that it names.
    pub(crate) fn verify_repair_token(&self, token: &str) -> Result<(&Peer, RepairClaims), TokenError> {
        let (peer, claims) = self.verify_peer::<RepairClaims>(token)?;
        if claims.purpose == PURPOSE_REPAIR { Ok((peer, claims)) } else { Err(TokenError::Invalid) }
    }

    /// Verifies a region token against the pinned key of the region that it names.
    pub(crate) fn verify_region_token(&self, token: &str) -> Result<(&Peer, RegionClaims), TokenError> {
        let (peer, claims) = self.verify_peer::<RegionClaims>(token)?;
        if claims.purpose == PURPOSE_REPLICATE { Ok((peer, claims)) } else { Err(TokenError::Invalid) }
    }

    fn verify_peer<T: Claims>(&self, token: &str) -> Result<(&Peer, T), TokenError> {
        let issuer = unverified_issuer(token).ok_or(TokenError::Invalid)?;
        let peer = self.settings().peers.iter().find(|p| p.id.as_str() == issuer).ok_or(TokenError::Invalid)?;
        let key = crate::registry::decode_public_key(&peer.public_key).ok_or(TokenError::Invalid)?;
        let audience = self.settings().region.as_str();
        let expected = Expected { algorithm: Algorithm::EdDSA, issuer: peer.id.as_str(), audience };
        Ok((peer, verify(token, &DecodingKey::from_ed_der(&key), expected)?))
    }
}

pub(crate) fn token_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests;
