//! Refresh tokens: what a client keeps instead of a password (`offline_token=true`, registry-protocol 34 and 38).
//!
//! A refresh token buys registry tokens and opens nothing itself; its key is its own. It is checked against the catalog
//! at each use, and ends when the login behind it does: with the access key, and with any change of the user or its
//! password. What is undone brings none back.

use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::access::policy::Principal;
use crate::error::ServiceError;
use crate::identity::logins::derived_password;
use crate::identity::service::Identity;
use crate::identity::tokens::{Claims, Expected, now_seconds, token_id, verify};
use crate::identity::tokens::{IssuedToken, TokenError};

/// A bit more than nothing of the secret, to notice that it was replaced.
const FINGERPRINT_BYTES: usize = 8;

#[derive(Serialize, Deserialize)]
struct RefreshClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    /// The user's epoch when the token was made; any change of password or state raises it.
    epoch: i64,
    /// The access key that was logged in with, and what its secret was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    access_key: Option<(String, String)>,
    /// The epoch of that key; keys of before had none, which counts as the first.
    #[serde(default)]
    key_epoch: i64,
}

impl Claims for RefreshClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

impl Identity {
    /// Issues a refresh token for a login that was just proved with `authenticate_login`.
    pub async fn issue_refresh_token(&self, principal: &Principal, login: &str) -> Result<IssuedToken, ServiceError> {
        let user = self.catalog().find_user_by_id(&principal.user_id).await?;
        let user = user.ok_or_else(|| ServiceError::UserAbsent(principal.user_name.clone()))?;
        let (access_key, key_epoch) = match login.rsplit_once('@') {
            None => (None, 0),
            Some((_, access_key)) => {
                let found = self.usable_key(access_key).await?;
                let key = found.ok_or_else(|| ServiceError::Absent("the access key".to_owned()))?;
                (Some((access_key.to_owned(), fingerprint(access_key, &key.secret))), key.epoch)
            }
        };
        let iat = now_seconds();
        let exp = iat + self.settings().refresh_token_seconds;
        let claims = RefreshClaims {
            iss: self.settings().region.to_string(),
            aud: self.settings().service.clone(),
            sub: user.id,
            iat,
            exp,
            jti: token_id(),
            epoch: user.epoch,
            access_key,
            key_epoch,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys().refresh_token().signing)
            .expect("claims are plain data, which always serialises");
        Ok(IssuedToken { token, issued_at_seconds: iat, expires_at_seconds: exp })
    }

    /// Verifies a refresh token, and that the login behind it would still be let in.
    ///
    /// # Errors
    /// The outer error when the catalog does not answer, the inner one when the token is refused.
    pub async fn verify_refresh_token(&self, token: &str) -> Result<Result<Principal, TokenError>, ServiceError> {
        let settings = self.settings();
        let key = &self.keys().refresh_token().verifying;
        let expected =
            Expected { algorithm: Algorithm::HS256, issuer: settings.region.as_str(), audience: &settings.service };
        let claims: RefreshClaims = match verify(token, key, expected) {
            Ok(claims) => claims,
            Err(error) => return Ok(Err(error)),
        };
        if let Some((access_key, seen)) = &claims.access_key {
            let key = self.usable_key(access_key).await?;
            let same = key.is_some_and(|key| {
                key.user.id == claims.sub
                    && key.epoch == claims.key_epoch
                    && fingerprint(access_key, &key.secret) == *seen
            });
            if !same {
                return Ok(Err(TokenError::Withdrawn));
            }
        }
        let user = self.catalog().find_user_by_id(&claims.sub).await?;
        Ok(match user {
            Some(user) if user.enabled && user.epoch == claims.epoch => Ok(user.into()),
            _ => Err(TokenError::Withdrawn),
        })
    }
}

fn fingerprint(access_key: &str, secret: &str) -> String {
    let hash = Sha256::digest(format!("refresh {}", derived_password(access_key, secret)));
    hex::encode(&hash[..FINGERPRINT_BYTES])
}

#[cfg(test)]
mod tests {
    use crate::access::policy::Principal;
    use crate::identity::tokens::TokenError;
    use crate::identity::tokens::now_seconds;
    use crate::testing::TestRegion;

    async fn refresh(region: &TestRegion, token: &str) -> Result<Principal, TokenError> {
        region.registry.identity().verify_refresh_token(token).await.unwrap()
    }

    #[tokio::test]
    async fn a_refresh_token_lives_as_long_as_its_login() {
        let region = TestRegion::start("region-a").await;
        let registry = &region.registry;
        let issue =
            async |login: &str| registry.identity().issue_refresh_token(&region.admin, login).await.unwrap().token;
        let (by_password, by_key) = (issue("admin").await, issue("region-a@AK1").await);
        for token in [&by_password, &by_key] {
            assert_eq!(refresh(&region, token).await.as_ref(), Ok(&region.admin));
            // It opens nothing else, and nothing else refreshes (H10).
            assert!(registry.identity().verify_registry_token(token).is_err());
            assert!(registry.identity().verify_iam_token(token).await.unwrap().is_err());
        }
        let registry_token = registry.identity().issue_registry_token(Some(&region.admin), &[]).await.unwrap().token;
        assert_eq!(refresh(&region, &registry_token).await, Err(TokenError::Invalid));

        registry.identity().set_password(&region.admin.user_id, "another password".to_owned()).await.unwrap();
        for token in [&by_password, &by_key] {
            assert_eq!(refresh(&region, token).await, Err(TokenError::Withdrawn));
        }
        let by_key = issue("region-a@AK1").await;
        registry.identity().rotate_access_key("AK1").await.unwrap();
        assert_eq!(refresh(&region, &by_key).await, Err(TokenError::Withdrawn));
        let (by_password, by_key) = (issue("admin").await, issue("region-a@AK1").await);
        registry.identity().set_access_key_enabled("AK1", false).await.unwrap();
        assert_eq!(refresh(&region, &by_key).await, Err(TokenError::Withdrawn));
        registry.identity().set_access_key_enabled("AK1", true).await.unwrap();
        assert_eq!(refresh(&region, &by_key).await, Err(TokenError::Withdrawn), "enabling brings nothing back");
        let by_key = issue("region-a@AK1").await;
        for enabled in [false, true] {
            registry.identity().set_user_enabled(&region.admin.user_id, enabled).await.unwrap();
            for token in [&by_password, &by_key] {
                assert_eq!(refresh(&region, token).await, Err(TokenError::Withdrawn), "enabled: {enabled}");
            }
        }
    }

    #[tokio::test]
    async fn a_temporary_login_takes_its_refresh_token_along() {
        let region = TestRegion::start("region-a").await;
        let basis = region.registry.identity().login_basis(&region.admin, None).await.unwrap();
        let login = region.registry.identity().create_login(&basis, Some(60)).await.unwrap();
        let token = region.registry.identity().issue_refresh_token(&region.admin, &login.user).await.unwrap();
        assert!(token.expires_at_seconds > now_seconds() + 60);
        assert!(refresh(&region, &token.token).await.is_ok());
        let access_key = login.user.split_once('@').unwrap().1;
        region.registry.identity().set_access_key_enabled(access_key, false).await.unwrap();
        assert_eq!(refresh(&region, &token.token).await, Err(TokenError::Withdrawn));
    }
}
