//! Accounts, users and access keys, and how a caller proves to be one of them.
//!
//! Owns: the derived registry password (contract 7.5), creating and sealing access keys.

use std::net::IpAddr;
use std::time::Instant;

use rand::distr::{Alphanumeric, SampleString as _};
use subtle::ConstantTimeEq as _;
use transship_catalog::{AccessKey, Account, MadeWith, NewBootstrap, NewUser, User};

use crate::access::policy::Principal;
use crate::error::ServiceError;
use crate::identity::derived::{derived_password, fingerprint};
use crate::identity::service::Identity;
use crate::identity::throttle::Attempt;

/// Length of a generated access key, the same as in the hosted service.
const ACCESS_KEY_CHARS: usize = 20;
/// Length of a generated secret key: 40 characters of 62 are 238 bits.
const SECRET_KEY_CHARS: usize = 40;
/// The first account of a new region.
#[derive(Clone)]
pub struct Bootstrap {
    /// Name of the account.
    pub account: String,
    /// Name of its administrator.
    pub user: String,
    /// The administrator's password.
    pub password: String,
    /// An access key and its secret key, if given.
    pub access_key: Option<(String, String)>,
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap").field("account", &self.account).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A temporary login for registry clients (`CreateSecret`).
#[derive(Clone)]
pub struct RegistryLogin {
    /// `{region}@{access key}`.
    pub user: String,
    /// The derived password.
    pub password: String,
    /// When it expires, milliseconds since 1970.
    pub expires_at_ms: i64,
}

impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

/// An access key that may be used now.
pub(crate) struct UsableKey {
    pub(crate) user: User,
    pub(crate) secret: String,
    pub(crate) epoch: i64,
}

/// A proved login, and the state of what proved it.
///
/// A token made with it ends when that state changes, even if it changed before the token was made.
#[derive(Clone, Debug)]
pub struct ProvedLogin {
    /// Who it is.
    pub principal: Principal,
    pub(crate) user_epoch: i64,
    /// `None` for a login by password.
    pub(crate) access_key: Option<ProvedKey>,
}

/// An access key as it was when a login was proved with it.
#[derive(Clone, Debug)]
pub(crate) struct ProvedKey {
    pub(crate) access_key: String,
    pub(crate) fingerprint: String,
    pub(crate) epoch: i64,
}

/// What a temporary login is made with, an access key or a token; the login ends when that changes.
#[derive(Clone, Debug)]
pub struct LoginBasis {
    user_id: String,
    made_with: MadeWith,
}

impl Identity {
    /// Checks a registry login: `{region}@{access key}` with the derived password, or a user with its password.
    ///
    /// A user is written `{account}/{user}`, or `{user}` alone if only one account of the region has such a user.
    ///
    /// # Errors
    /// * [`ServiceError::TooManyAttempts`] while logins with that name from that address are held back. The password is
    ///   not checked then, so that a right one cannot be told from a wrong one.
    /// * [`ServiceError::SecretKeyAsPassword`] if the password is the access key's secret key instead of the derived
    ///   password. That counts as a failure too.
    pub async fn authenticate_login(
        &self,
        from: IpAddr,
        user: &str,
        password: &str,
    ) -> Result<Option<ProvedLogin>, ServiceError> {
        if let Some((project, access_key)) = user.rsplit_once('@') {
            let attempt = self.begin_attempt(from, access_key)?;
            let found = if self.is_own_project(project) { self.usable_key(access_key).await? } else { None };
            // An unknown key takes the same time: the password is compared with a secret that nobody has.
            let secret = found.as_ref().map_or("no such access key", |found| &found.secret);
            let expected = derived_password(access_key, secret);
            let same: bool = expected.as_bytes().ct_eq(password.to_ascii_lowercase().as_bytes()).into();
            let is_secret: bool = secret.as_bytes().ct_eq(password.as_bytes()).into();
            let is_secret = is_secret && found.is_some();
            let proved = found.filter(|_| same).map(|found| ProvedLogin {
                user_epoch: found.user.epoch,
                access_key: Some(ProvedKey {
                    access_key: access_key.to_owned(),
                    fingerprint: fingerprint(access_key, &found.secret),
                    epoch: found.epoch,
                }),
                principal: found.user.into(),
            });
            self.end_attempt(attempt, proved.is_some());
            if is_secret && proved.is_none() {
                return Err(ServiceError::SecretKeyAsPassword);
            }
            return Ok(proved);
        }
        let found = async {
            if let Some((account, name)) = user.split_once('/') {
                return Ok(self.catalog().find_user(account, name).await?);
            }
            let mut named = self.catalog().find_users_by_name(user).await?;
            Ok(if named.len() == 1 { named.pop() } else { None })
        };
        self.check_password(from, user, found, password).await
    }

    /// Checks a password login of IAM (contract 7.1).
    ///
    /// # Errors
    /// As [`Identity::authenticate_login`].
    pub async fn authenticate_password(
        &self,
        from: IpAddr,
        account: &str,
        user: &str,
        password: &str,
    ) -> Result<Option<ProvedLogin>, ServiceError> {
        let found = async { Ok(self.catalog().find_user(account, user).await?) };
        // The same name as in a registry login, so that both ways to log in share one counter.
        self.check_password(from, &format!("{account}/{user}"), found, password).await
    }

    /// Begins an attempt to prove possession of an access key.
    ///
    /// # Errors
    /// [`ServiceError::TooManyAttempts`].
    pub fn begin_attempt(&self, from: IpAddr, access_key: &str) -> Result<Attempt, ServiceError> {
        let attempt = self.throttle().attempt(from, "access key", access_key);
        self.throttle().check(attempt, Instant::now())?;
        Ok(attempt)
    }

    /// Records how an attempt ended.
    pub fn end_attempt(&self, attempt: Attempt, succeeded: bool) {
        self.throttle().note(attempt, succeeded, Instant::now());
    }

    /// A user by its id, enabled or not.
    pub async fn user_by_id(&self, user_id: &str) -> Result<Option<User>, ServiceError> {
        Ok(self.catalog().find_user_by_id(user_id).await?)
    }

    /// An account by its id: one row, found by its primary key.
    pub async fn account_by_id(&self, account_id: &str) -> Result<Option<Account>, ServiceError> {
        Ok(self.catalog().find_account_by_id(account_id).await?)
    }

    /// The user and the secret key of an access key that may be used now.
    pub async fn access_key(&self, access_key: &str) -> Result<Option<(Principal, String)>, ServiceError> {
        Ok(self.usable_key(access_key).await?.map(|usable| (usable.user.into(), usable.secret)))
    }

    /// As [`Identity::access_key`], with the epochs of key and user.
    pub(crate) async fn usable_key(&self, access_key: &str) -> Result<Option<UsableKey>, ServiceError> {
        let Some(found) = self.catalog().find_access_key(access_key).await? else { return Ok(None) };
        let expired = found.key.expires_at_ms.is_some_and(|at| at <= now_ms());
        if !found.key.enabled || expired || found.is_withdrawn || !found.user.enabled {
            return Ok(None);
        }
        let secret = self.keys().open(access_key, &found.key.sealed_secret).ok_or_else(|| {
            ServiceError::Internal(format!("access key {access_key} was sealed with another secrets.key"))
        })?;
        Ok(Some(UsableKey { user: found.user, secret, epoch: found.epoch }))
    }

    /// What a temporary login for this caller is made with: the access key that the caller signs with, or a token.
    ///
    /// Call it before you prove the caller: then a change between the two refuses the caller, and a later one ends the
    /// login.
    pub async fn login_basis(
        &self,
        principal: &Principal,
        access_key: Option<&str>,
    ) -> Result<LoginBasis, ServiceError> {
        let absent = || ServiceError::UserAbsent(principal.user_name.clone());
        let made_with = match access_key {
            None => {
                let user = self.catalog().find_user_by_id(&principal.user_id).await?.ok_or_else(absent)?;
                MadeWith { user_epoch: user.epoch, access_key: None }
            }
            Some(access_key) => {
                let found = self.catalog().find_access_key(access_key).await?;
                let found = found.filter(|found| found.user.id == principal.user_id).ok_or_else(absent)?;
                MadeWith { user_epoch: found.user.epoch, access_key: Some((access_key.to_owned(), found.epoch)) }
            }
        };
        Ok(LoginBasis { user_id: principal.user_id.clone(), made_with })
    }

    /// Creates a temporary login (contract 7.5).
    ///
    /// It ends when the user or access key behind its [`LoginBasis`] changes. It also ends when it is the oldest and
    /// the user creates more logins than allowed.
    pub async fn create_login(
        &self,
        basis: &LoginBasis,
        life_seconds: Option<u64>,
    ) -> Result<RegistryLogin, ServiceError> {
        let life = life_seconds.unwrap_or(self.settings().login_seconds);
        self.catalog().delete_expired_access_keys().await?;
        let expires_at_ms = now_ms().saturating_add(i64::try_from(life).unwrap_or(i64::MAX).saturating_mul(1000));
        let (access_key, secret) = new_key_pair();
        let key = self.sealed_key(&basis.user_id, Some(expires_at_ms), &access_key, &secret);
        self.catalog().create_login(&key, &basis.made_with, self.settings().logins_per_user).await?;
        Ok(RegistryLogin {
            user: format!("{}@{access_key}", self.settings().region),
            password: derived_password(&access_key, &secret),
            expires_at_ms,
        })
    }

    /// Creates the first account; does nothing if the catalog already has an account.
    pub async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<bool, ServiceError> {
        if self.catalog().account_count().await? > 0 {
            return Ok(false);
        }
        let password_hash = self.passwords().hash(bootstrap.password).await?;
        let access_key = bootstrap.access_key.map(|(access_key, secret)| {
            let sealed = self.keys().seal(&access_key, &secret);
            (access_key, sealed)
        });
        let new =
            NewBootstrap { account_name: bootstrap.account, user_name: bootstrap.user, password_hash, access_key };
        Ok(self.catalog().bootstrap(new).await?.is_some())
    }

    /// Whether the project name in a login or scope is this region's (sub-projects append `_name`).
    pub fn is_own_project(&self, project: &str) -> bool {
        let region = self.settings().region.as_str();
        project == region || project.strip_prefix(region).is_some_and(|rest| rest.starts_with('_'))
    }

    async fn check_password(
        &self,
        from: IpAddr,
        name: &str,
        find: impl Future<Output = Result<Option<User>, ServiceError>>,
        password: &str,
    ) -> Result<Option<ProvedLogin>, ServiceError> {
        let attempt = self.throttle().attempt(from, "user", name);
        self.throttle().check(attempt, Instant::now())?;
        let user = find.await?;
        let mut turn = self.passwords().turn(from).await?;
        // Passwords are checked one at a time. Checking again here counts attempts sent at once as if sent in turn.
        self.throttle().check(attempt, Instant::now())?;
        let stored = user.as_ref().and_then(|user| user.password_hash.clone());
        let fits = turn.verify(stored, password).await?;
        let mut user = user.filter(|user| fits && user.enabled);
        if let Some(seen) = &user {
            // The check takes long enough for the password to change; what is made now must not outlive that change.
            let now = self.catalog().find_user_by_id(&seen.id).await?;
            user = now.filter(|now| now.epoch == seen.epoch);
        }
        let proved = user.map(|user| ProvedLogin { user_epoch: user.epoch, access_key: None, principal: user.into() });
        self.throttle().note(attempt, proved.is_some(), Instant::now());
        Ok(proved)
    }

    fn sealed_key(&self, user_id: &str, expires_at_ms: Option<i64>, access_key: &str, secret: &str) -> AccessKey {
        AccessKey {
            access_key: access_key.to_owned(),
            user_id: user_id.to_owned(),
            sealed_secret: self.keys().seal(access_key, secret),
            enabled: true,
            expires_at_ms,
            created_at_ms: now_ms(),
        }
    }
}

/// Operations of an operator at the command line.
impl Identity {
    /// Creates an account.
    pub async fn create_account(&self, name: &str) -> Result<Account, ServiceError> {
        check_identity_name("account", name)?;
        Ok(self.catalog().create_account(name).await?)
    }

    /// All accounts.
    pub async fn list_accounts(&self) -> Result<Vec<Account>, ServiceError> {
        Ok(self.catalog().list_accounts().await?)
    }

    /// Creates a user of an account.
    pub async fn create_user(
        &self,
        account: &str,
        name: &str,
        password: Option<String>,
        is_admin: bool,
    ) -> Result<User, ServiceError> {
        check_identity_name("user", name)?;
        let found = self.catalog().find_account(account).await?;
        let account = found.ok_or_else(|| ServiceError::Absent(format!("account {account:?}")))?;
        let password_hash = match password {
            Some(password) => Some(self.passwords().hash(password).await?),
            None => None,
        };
        let new = NewUser { account_id: account.id, name: name.to_owned(), password_hash, is_admin };
        Ok(self.catalog().create_user(new).await?)
    }

    /// The administrator in whose name an open region acts: the first enabled one, by account and name.
    pub(crate) async fn first_administrator(&self) -> Result<Principal, ServiceError> {
        let users = self.catalog().list_users(None).await?;
        let found = users.into_iter().find(|user| user.is_admin && user.enabled);
        let found = found.ok_or_else(|| {
            ServiceError::Denied("an open region acts as its first administrator, and it has none".to_owned())
        })?;
        Ok(found.into())
    }

    /// The users of one account, or of all.
    pub async fn list_users(&self, account: Option<&str>) -> Result<Vec<User>, ServiceError> {
        let account_id = match account {
            None => None,
            Some(name) => {
                let found = self.catalog().find_account(name).await?;
                Some(found.ok_or_else(|| ServiceError::Absent(format!("account {name:?}")))?.id)
            }
        };
        Ok(self.catalog().list_users(account_id.as_deref()).await?)
    }

    /// Users of an account: the one with that name if a name is given, otherwise all.
    pub async fn users_of_account(&self, account: &str, name: Option<&str>) -> Result<Vec<User>, ServiceError> {
        match name {
            Some(name) => Ok(self.catalog().find_user(account, name).await?.into_iter().collect()),
            None => self.list_users(Some(account)).await,
        }
    }

    /// The user of that name in an account.
    pub async fn find_user(&self, account: &str, name: &str) -> Result<User, ServiceError> {
        let found = self.catalog().find_user(account, name).await?;
        found.ok_or_else(|| ServiceError::Absent(format!("user {name:?} of account {account:?}")))
    }

    /// Enables or disables a user; either withdraws its tokens and temporary logins.
    pub async fn set_user_enabled(&self, user_id: &str, enabled: bool) -> Result<(), ServiceError> {
        Ok(self.catalog().set_user_enabled(user_id, enabled).await?)
    }

    /// Sets a user's password and withdraws its tokens and temporary logins.
    pub async fn set_password(&self, user_id: &str, password: String) -> Result<(), ServiceError> {
        let hash = self.passwords().hash(password).await?;
        Ok(self.catalog().set_password(user_id, &hash).await?)
    }

    /// Creates an access key for a user, a new one or the given one, and returns it with its secret key.
    pub async fn create_access_key(
        &self,
        user_id: &str,
        given: Option<(String, String)>,
    ) -> Result<(String, String), ServiceError> {
        let (access_key, secret) = given.unwrap_or_else(new_key_pair);
        self.catalog().create_access_key(&self.sealed_key(user_id, None, &access_key, &secret)).await?;
        Ok((access_key, secret))
    }

    /// The access keys of one user, or of all; their secret keys stay sealed.
    pub async fn list_access_keys(&self, user_id: Option<&str>) -> Result<Vec<AccessKey>, ServiceError> {
        Ok(self.catalog().list_access_keys(user_id).await?)
    }

    /// Enables or disables an access key; either withdraws what was made with it.
    pub async fn set_access_key_enabled(&self, access_key: &str, enabled: bool) -> Result<(), ServiceError> {
        Ok(self.catalog().set_access_key_enabled(access_key, enabled).await?)
    }

    /// Gives an access key a new secret key and returns it.
    ///
    /// The old secret key, and what was made with it, are refused from now on.
    pub async fn rotate_access_key(&self, access_key: &str) -> Result<String, ServiceError> {
        let secret = random_text(SECRET_KEY_CHARS);
        self.catalog().replace_secret(access_key, &self.keys().seal(access_key, &secret)).await?;
        Ok(secret)
    }
}

/// A new access key and its secret key.
fn new_key_pair() -> (String, String) {
    (random_text(ACCESS_KEY_CHARS).to_ascii_uppercase(), random_text(SECRET_KEY_CHARS))
}

/// Random text for a secret or a password that nobody can guess.
pub(crate) fn random_text(chars: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), chars)
}

pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Checks the name of an account or user: it must be unambiguous in a login, `account/user`.
fn check_identity_name(what: &'static str, name: &str) -> Result<(), ServiceError> {
    let fine = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fine {
        return Ok(());
    }
    Err(ServiceError::InvalidParameter {
        name: what,
        value: name.to_owned(),
        expected: "1 to 64 characters of A-Z, a-z, 0-9, - _ .".to_owned(),
    })
}

#[cfg(test)]
mod tests;
