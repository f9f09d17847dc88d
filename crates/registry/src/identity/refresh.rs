//! Refresh tokens: a client keeps one instead of a password (`offline_token=true`, registry-protocol 34 and 38).
//!
//! A refresh token can only be exchanged for registry tokens, and it has a key of its own. Each use checks it against
//! the catalog. It ends with the login behind it: with the access key, or with any change of the user or its password.
//! Undoing that change does not bring the token back.

use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};

use crate::access::policy::Principal;
use crate::error::ServiceError;
use crate::identity::derived::fingerprint;
use crate::identity::logins::ProvedLogin;
use crate::identity::service::Identity;
use crate::identity::tokens::{Claims, Expected, now_seconds, token_id, verify};
use crate::identity::tokens::{IssuedToken, TokenError};

#[derive(Serialize, Deserialize)]
struct RefreshClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    /// The user's epoch when the login was proved; any change of password or state raises it.
    epoch: i64,
    /// The access key of the login, with a fingerprint of its secret at that time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    access_key: Option<(String, String)>,
    /// The epoch of that key. Older tokens have none, which counts as the first epoch.
    #[serde(default)]
    key_epoch: i64,
}

impl Claims for RefreshClaims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

impl Identity {
    /// Issues a refresh token for a login, as it was when [`Identity::authenticate_login`] proved it.
    pub fn issue_refresh_token(&self, login: &ProvedLogin) -> IssuedToken {
        let key = login.access_key.as_ref();
        let iat = now_seconds();
        let exp = iat + self.settings().refresh_token_seconds;
        let claims = RefreshClaims {
            iss: self.settings().region.to_string(),
            aud: self.settings().service.clone(),
            sub: login.principal.user_id.clone(),
            iat,
            exp,
            jti: token_id(),
            epoch: login.user_epoch,
            access_key: key.map(|key| (key.access_key.clone(), key.fingerprint.clone())),
            key_epoch: key.map_or(0, |key| key.epoch),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys().refresh_token().signing)
            .expect("claims are plain data, which always serialises");
        IssuedToken { token, issued_at_seconds: iat, expires_at_seconds: exp }
    }

    /// Verifies a refresh token, and checks that the login behind it would still succeed.
    ///
    /// # Errors
    /// The outer error if the catalog does not answer, the inner one if the token is refused.
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::access::policy::Principal;
    use crate::identity::derived::derived_password;
    use crate::identity::logins::ProvedLogin;
    use crate::identity::tokens::TokenError;
    use crate::identity::tokens::now_seconds;
    use crate::testing::TestRegion;

    async fn refresh(region: &TestRegion, token: &str) -> Result<Principal, TokenError> {
        region.registry.identity().verify_refresh_token(token).await.unwrap()
    }

    async fn prove(region: &TestRegion, login: &str, password: &str) -> ProvedLogin {
        let proved = region.registry.identity().authenticate_login(Ipv4Addr::LOCALHOST.into(), login, password).await;
        proved.unwrap().expect("the login is good")
    }

    async fn prove_by_key(region: &TestRegion) -> ProvedLogin {
        let (_, secret) = region.registry.identity().access_key("AK1").await.unwrap().unwrap();
        prove(region, "region-a@AK1", &derived_password("AK1", &secret)).await
    }

    #[tokio::test]
    async fn a_refresh_token_lives_as_long_as_its_login() {
        let region = TestRegion::start("region-a").await;
        let registry = &region.registry;
        let by_password = async |password: &str| {
            registry.identity().issue_refresh_token(&prove(&region, "admin", password).await).token
        };
        let by_key = async || registry.identity().issue_refresh_token(&prove_by_key(&region).await).token;
        let both = async |password: &str| [by_password(password).await, by_key().await];
        let tokens = both("a password").await;
        for token in &tokens {
            assert_eq!(refresh(&region, token).await.as_ref(), Ok(&region.admin));
            // A refresh token opens nothing else, and no other token refreshes (H10: each endpoint accepts one kind).
            assert!(registry.identity().verify_registry_token(token).is_err());
            assert!(registry.identity().verify_iam_token(token).await.unwrap().is_err());
        }
        let registry_token = registry.identity().issue_registry_token(Some(&region.admin), &[]).await.unwrap().token;
        assert_eq!(refresh(&region, &registry_token).await, Err(TokenError::Invalid));

        registry.identity().set_password(&region.admin.user_id, "another password".to_owned()).await.unwrap();
        for token in &tokens {
            assert_eq!(refresh(&region, token).await, Err(TokenError::Withdrawn));
        }
        let token = by_key().await;
        registry.identity().rotate_access_key("AK1").await.unwrap();
        assert_eq!(refresh(&region, &token).await, Err(TokenError::Withdrawn));
        let tokens = both("another password").await;
        registry.identity().set_access_key_enabled("AK1", false).await.unwrap();
        assert_eq!(refresh(&region, &tokens[1]).await, Err(TokenError::Withdrawn));
        registry.identity().set_access_key_enabled("AK1", true).await.unwrap();
        assert_eq!(refresh(&region, &tokens[1]).await, Err(TokenError::Withdrawn), "enabling brings nothing back");
        assert!(refresh(&region, &tokens[0]).await.is_ok());
        let tokens = [tokens[0].clone(), by_key().await];
        for enabled in [false, true] {
            registry.identity().set_user_enabled(&region.admin.user_id, enabled).await.unwrap();
            for token in &tokens {
                assert_eq!(refresh(&region, token).await, Err(TokenError::Withdrawn), "enabled: {enabled}");
            }
        }
    }

    /// A user is shut out between proving the login and getting its token: a token for a year must not outlive that.
    #[tokio::test]
    async fn a_token_of_a_login_that_changed_since_it_was_proved_is_never_good() {
        let region = TestRegion::start("region-a").await;
        let registry = &region.registry;
        let proved = prove_by_key(&region).await;
        registry.identity().rotate_access_key("AK1").await.unwrap();
        let token = registry.identity().issue_refresh_token(&proved).token;
        assert_eq!(refresh(&region, &token).await, Err(TokenError::Withdrawn), "rotated");
        let proved = prove_by_key(&region).await;
        for enabled in [false, true] {
            registry.identity().set_access_key_enabled("AK1", enabled).await.unwrap();
        }
        let token = registry.identity().issue_refresh_token(&proved).token;
        assert_eq!(refresh(&region, &token).await, Err(TokenError::Withdrawn), "switched off and on");
        let proved = prove(&region, "admin", "a password").await;
        registry.identity().set_password(&region.admin.user_id, "another password".to_owned()).await.unwrap();
        let token = registry.identity().issue_refresh_token(&proved).token;
        assert_eq!(refresh(&region, &token).await, Err(TokenError::Withdrawn), "another password");
        let token = registry.identity().issue_iam_token(&proved).token;
        assert_eq!(registry.identity().verify_iam_token(&token).await.unwrap(), Err(TokenError::Withdrawn));
    }

    #[tokio::test]
    async fn a_temporary_login_takes_its_refresh_token_along() {
        let region = TestRegion::start("region-a").await;
        let basis = region.registry.identity().login_basis(&region.admin, None).await.unwrap();
        let login = region.registry.identity().create_login(&basis, Some(60)).await.unwrap();
        let token = region.registry.identity().issue_refresh_token(&prove(&region, &login.user, &login.password).await);
        assert!(token.expires_at_seconds > now_seconds() + 60);
        assert!(refresh(&region, &token.token).await.is_ok());
        let access_key = login.user.split_once('@').unwrap().1;
        region.registry.identity().set_access_key_enabled(access_key, false).await.unwrap();
        assert_eq!(refresh(&region, &token.token).await, Err(TokenError::Withdrawn));
    }
}
