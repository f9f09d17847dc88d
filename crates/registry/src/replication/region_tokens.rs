//! The tokens that prove one region to another: one to write a repository, one to get back a lost blob.
//!
//! They are signed with the region's identity, name exactly what they are for, are valid for five minutes, and are
//! accepted once.
//!
//! Owns: making and verifying them. Never: what their user may do.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::{Deserialize, Serialize};
use transship_catalog::TokenUse;
use transship_oci::{Digest, RegionId, RepositoryName};

use crate::error::ServiceError;
use crate::identity::fingerprint::{decode_public_key, fingerprint};
use crate::identity::tokens::{
    Claims, Expected, REGION_TOKEN_SECONDS, TokenError, now_seconds, token_id, unverified_issuer, unverified_key_id,
    verify,
};
use crate::replication::peers::KnownPeer;
use crate::replication::trust::Trust;

/// How long a used token is remembered: twice its maximum lifetime, which leaves room for clocks that differ.
const USED_TOKEN_KEPT_MS: i64 = 2 * 300 * 1000;
/// Maximum number of used tokens that are remembered for one region. A region sends one for each call of `sync_images`
/// and, every few minutes, one for each repository that it writes. A region that was taken over must not fill the
/// catalog.
const MAX_USED_TOKENS: i64 = 20_000;
/// Maximum length of a token's id; the ids made here have 32 characters.
const MAX_TOKEN_ID_CHARS: usize = 64;
/// The purpose of a token that opens a repository of the target for a copy.
const PURPOSE_REPLICATE: &str = "replicate";
/// The purpose of a token that asks for one lost blob.
const PURPOSE_REPAIR: &str = "repair";

/// Why the token of a region was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionTokenError {
    /// It has expired, or is not meant for this place.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It claims a longer lifetime than is allowed.
    #[error("the region token lives longer than {REGION_TOKEN_SECONDS} s")]
    TooLong,
    /// It was used before.
    #[error("the region token was used before; a region makes a new one for each request")]
    Used,
    /// Its signature is good, but the key is not pinned for the region that it names. That region may be unknown here.
    #[error(
        "the region token is signed by a key that is not pinned for region {region}: fingerprint {fingerprint}; compare it with public_key of that [[peer]] in this region"
    )]
    NotPinned {
        /// The region that the token names.
        region: String,
        /// The key that signed it.
        fingerprint: String,
    },
}

/// The claims that all tokens between regions have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proof {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    purpose: String,
}

/// The claims of a region for itself and its user. They are names, because ids differ between regions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RegionClaims {
    #[serde(flatten)]
    proof: Proof,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) namespace: String,
    pub(crate) repository: String,
}

/// The claims of a region that has lost a blob: which one, and the accounts that link it there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RepairClaims {
    #[serde(flatten)]
    proof: Proof,
    pub(crate) digest: Digest,
    pub(crate) accounts: Vec<String>,
}

/// A kind of token between regions.
pub(crate) trait RegionToken: Claims {
    /// The purpose that the token must state.
    const PURPOSE: &'static str;
    /// The claims that all tokens have.
    fn proof(&self) -> &Proof;
}

impl RegionToken for RegionClaims {
    const PURPOSE: &'static str = PURPOSE_REPLICATE;
    fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl RegionToken for RepairClaims {
    const PURPOSE: &'static str = PURPOSE_REPAIR;
    fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl Claims for RegionClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.proof.iat
    }
}

impl Claims for RepairClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.proof.iat
    }
}

/// Making tokens.
impl Trust {
    /// Makes the proof that this region acts for a user on one repository of `target`.
    pub(crate) fn mint_region_token(
        &self,
        target: &RegionId,
        account: &str,
        user: &str,
        name: &RepositoryName,
    ) -> String {
        self.sign_region_token(&RegionClaims {
            proof: self.new_proof(target, PURPOSE_REPLICATE),
            account: account.to_owned(),
            user: user.to_owned(),
            namespace: name.namespace().to_string(),
            repository: name.repository().to_string(),
        })
    }

    /// Makes the proof that this region asks `target` for one blob, which these accounts link here.
    pub(crate) fn mint_repair_token(&self, target: &RegionId, digest: &Digest, accounts: &[String]) -> String {
        let proof = self.new_proof(target, PURPOSE_REPAIR);
        self.sign_region_token(&RepairClaims { proof, digest: digest.clone(), accounts: accounts.to_vec() })
    }

    fn new_proof(&self, target: &RegionId, purpose: &str) -> Proof {
        let iat = now_seconds();
        Proof {
            iss: self.settings().region.to_string(),
            aud: target.to_string(),
            iat,
            exp: iat + REGION_TOKEN_SECONDS,
            jti: token_id(),
            purpose: purpose.to_owned(),
        }
    }

    fn sign_region_token(&self, claims: &impl Serialize) -> String {
        // The key is named so that a target that has pinned another one can say which key it saw.
        let header = Header { kid: Some(self.keys().region_public_key()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, self.keys().region_signing())
            .expect("claims are plain data, which always serialises")
    }

    /// What the operators must compare if a target refuses this region's tokens.
    pub(crate) fn own_key_hint(&self, target: &RegionId) -> String {
        let own = &self.settings().region;
        format!(
            "region {own} signs with the key of fingerprint {}, which region {target} must have as public_key of its [[peer]] {own}",
            self.keys().region_fingerprint()
        )
    }
}

/// Verifying tokens.
impl Trust {
    /// Verifies a token of another region against its pinned keys.
    pub(crate) fn verify_region_token<T: RegionToken>(
        &self,
        token: &str,
    ) -> Result<(Arc<KnownPeer>, T), RegionTokenError> {
        let issuer = unverified_issuer(token).ok_or(TokenError::Invalid)?;
        let expected =
            Expected { algorithm: Algorithm::EdDSA, issuer: &issuer, audience: self.settings().region.as_str() };
        let Some(peer) = self.peer(&issuer) else {
            return Err(signed_by_a_stranger::<T>(token, expected, None));
        };
        let mut found = Err(TokenError::Invalid);
        for key in &peer.keys {
            found = verify::<T>(token, &key.verifying, expected);
            if !matches!(found, Err(TokenError::Invalid)) {
                break;
            }
        }
        let claims = match found {
            Ok(claims) => claims,
            Err(TokenError::Invalid) => return Err(signed_by_a_stranger::<T>(token, expected, Some(&peer))),
            Err(error) => return Err(error.into()),
        };
        let Proof { iat, exp, jti, purpose, .. } = claims.proof();
        let has_id = (1..=MAX_TOKEN_ID_CHARS).contains(&jti.len()) && jti.bytes().all(|byte| byte.is_ascii_graphic());
        if purpose != T::PURPOSE || !has_id || exp < iat {
            return Err(TokenError::Invalid.into());
        }
        // Tokens from the future were refused already, so this also limits how long the token is valid from now on.
        if exp - iat > REGION_TOKEN_SECONDS {
            return Err(RegionTokenError::TooLong);
        }
        Ok((peer, claims))
    }

    /// Marks a verified token as used. It is accepted once by all processes of this region together.
    ///
    /// # Errors
    /// [`ServiceError::TooManyRegionTokens`]; the inner error if the token was used before.
    pub(crate) async fn use_region_token(
        &self,
        claims: &impl RegionToken,
    ) -> Result<Result<(), RegionTokenError>, ServiceError> {
        let Proof { iss, jti, .. } = claims.proof();
        match self.catalog().use_region_token(iss, jti, USED_TOKEN_KEPT_MS, MAX_USED_TOKENS).await? {
            TokenUse::First => Ok(Ok(())),
            TokenUse::Repeated => Ok(Err(RegionTokenError::Used)),
            TokenUse::TooMany => Err(ServiceError::TooManyRegionTokens { region: iss.clone(), limit: MAX_USED_TOKENS }),
        }
    }
}

/// The refusal of a token that no pinned key has signed. A caller that holds the key it names learns that the key is
/// not pinned, whether this region knows the other one or not. Any other caller learns nothing.
fn signed_by_a_stranger<T: RegionToken>(
    token: &str,
    expected: Expected<'_>,
    peer: Option<&KnownPeer>,
) -> RegionTokenError {
    let key = unverified_key_id(token).and_then(|text| decode_public_key(&text));
    let Some(key) = key.filter(|key| peer.is_none_or(|peer| !peer.has_key(key))) else {
        return TokenError::Invalid.into();
    };
    if verify::<T>(token, &DecodingKey::from_ed_der(&key), expected).is_err() {
        return TokenError::Invalid.into();
    }
    let fingerprint = fingerprint(&key);
    if let Some(peer) = peer {
        peer.complain_of_key(&fingerprint);
    }
    let region: String = expected.issuer.chars().filter(|c| !c.is_control()).take(64).collect();
    RegionTokenError::NotPinned { region, fingerprint }
}

#[cfg(test)]
mod tests;
