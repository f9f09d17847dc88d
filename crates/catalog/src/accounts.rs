//! Accounts, users and access keys, as rows. It never sees a password or a secret key, only hashes and sealed texts.

use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::retry::{is_foreign_key_violation, is_unique_violation, repeated};
use crate::row::{Columns as _, one_changed, storable};
use crate::tx::Tx;
use crate::{Catalog, CatalogError};

/// An account: the owner of namespaces. All its users share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// 32 lower-case hexadecimal digits.
    pub id: String,
    /// Unique in the region.
    pub name: String,
    /// When it was made.
    pub created_at_ms: i64,
}

/// A user of an account.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// 32 lower-case hexadecimal digits.
    pub id: String,
    /// Unique in its account.
    pub name: String,
    /// Id of its account.
    pub account_id: String,
    /// Name of its account.
    pub account_name: String,
    /// The hash of its password, if it has one.
    pub password_hash: Option<String>,
    /// Whether it has level 7 (manage) everywhere in its account.
    pub is_admin: bool,
    /// Whether it may log in at all.
    pub enabled: bool,
    /// Rises whenever the user's tokens must become invalid: on a new password, on enabling, on disabling.
    pub epoch: i64,
    /// When it was made.
    pub created_at_ms: i64,
}

impl std::fmt::Debug for User {
    /// Leaves out the password's hash, which must not appear in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("account_name", &self.account_name)
            .field("is_admin", &self.is_admin)
            .field("enabled", &self.enabled)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A user to make.
#[derive(Clone)]
pub struct NewUser {
    /// Id of its account.
    pub account_id: String,
    /// Its name.
    pub name: String,
    /// The hash of its password; `None` for a user that only has access keys.
    pub password_hash: Option<String>,
    /// Whether it administers its account.
    pub is_admin: bool,
}

/// An access key and its secret key. The holder of the sealing key has encrypted the secret key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The key itself; unique in the region.
    pub access_key: String,
    /// The user that owns it.
    pub user_id: String,
    /// The secret key, encrypted.
    pub sealed_secret: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// When it expires; `None` if it never does.
    pub expires_at_ms: Option<i64>,
    /// When it was made.
    pub created_at_ms: i64,
}

impl std::fmt::Debug for AccessKey {
    /// Leaves out the sealed secret, which must not appear in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AccessKey")
            .field("access_key", &self.access_key)
            .field("user_id", &self.user_id)
            .field("enabled", &self.enabled)
            .field("expires_at_ms", &self.expires_at_ms)
            .finish_non_exhaustive()
    }
}

/// The first account of a region, with its administrator.
#[derive(Clone)]
pub struct NewBootstrap {
    /// Name of the account.
    pub account_name: String,
    /// Name of its administrator.
    pub user_name: String,
    /// The hash of the administrator's password.
    pub password_hash: String,
    /// An access key of the administrator and its sealed secret.
    pub access_key: Option<(String, String)>,
}

macro_rules! select_user {
    () => {
        "SELECT u.id, u.name, u.account_id, a.name AS account_name, u.password_hash, u.is_admin, u.enabled, u.epoch,
            u.created_at
        FROM iam_user u JOIN account a ON a.id = u.account_id "
    };
}

pub(crate) const ACCOUNT_BY_ID: &str = "SELECT id, name, created_at FROM account WHERE id = $1";
pub(crate) const USER_BY_NAME: &str = concat!(select_user!(), "WHERE a.name = $1 AND u.name = $2");

impl Catalog {
    /// Returns the number of accounts.
    pub async fn account_count(&self) -> Result<i64, CatalogError> {
        let row = self.read_optional(|| self.query("SELECT COUNT(*) AS accounts FROM account")).await?;
        row.map_or(Ok(0), |row| row.number("accounts"))
    }

    /// Creates an account.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if there is an account of that name.
    pub async fn create_account(&self, name: &str) -> Result<Account, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let account = insert_account(&mut tx, name).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(account)
        })
    }

    /// Returns the account of that name.
    pub async fn find_account(&self, name: &str) -> Result<Option<Account>, CatalogError> {
        let sql = "SELECT id, name, created_at FROM account WHERE name = $1";
        let row = self.read_optional(|| self.query(sql).bind(name)).await?;
        row.as_ref().map(account).transpose()
    }

    /// Returns the account with that id.
    pub async fn find_account_by_id(&self, id: &str) -> Result<Option<Account>, CatalogError> {
        let row = self.read_optional(|| self.query(ACCOUNT_BY_ID).bind(id)).await?;
        row.as_ref().map(account).transpose()
    }

    /// Returns every account, sorted by name.
    pub async fn list_accounts(&self) -> Result<Vec<Account>, CatalogError> {
        let rows = self.read_all(|| self.query("SELECT id, name, created_at FROM account ORDER BY name")).await?;
        rows.iter().map(account).collect()
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if its account has a user of that name, [`CatalogError::NotFound`] if there is no
    /// such account.
    pub async fn create_user(&self, new: NewUser) -> Result<User, CatalogError> {
        let NewUser { account_id, name, password_hash, is_admin } = new;
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let id = insert_user(&mut tx, &account_id, &name, password_hash.as_deref(), is_admin).await?;
            let user = user_in(&mut tx, &id).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(user)
        })
    }

    /// Returns the user of that name in the account of that name.
    pub async fn find_user(&self, account_name: &str, user_name: &str) -> Result<Option<User>, CatalogError> {
        let row = self.read_optional(|| self.query(USER_BY_NAME).bind(account_name).bind(user_name)).await?;
        row.as_ref().map(user).transpose()
    }

    /// Returns the user with that id.
    pub async fn find_user_by_id(&self, id: &str) -> Result<Option<User>, CatalogError> {
        let row = self.read_optional(|| self.query(concat!(select_user!(), "WHERE u.id = $1")).bind(id)).await?;
        row.as_ref().map(user).transpose()
    }

    /// Returns at most two users of that name over all accounts: enough to know whether the name is unique.
    pub async fn find_users_by_name(&self, name: &str) -> Result<Vec<User>, CatalogError> {
        let sql = concat!(select_user!(), "WHERE u.name = $1 ORDER BY a.name LIMIT 2");
        let rows = self.read_all(|| self.query(sql).bind(name)).await?;
        rows.iter().map(user).collect()
    }

    /// Returns the users of one account, or of all, sorted by account and name.
    pub async fn list_users(&self, account_id: Option<&str>) -> Result<Vec<User>, CatalogError> {
        let sql = concat!(select_user!(), "WHERE $1 IS NULL OR u.account_id = $1 ORDER BY a.name, u.name");
        let rows = self.read_all(|| self.query(sql).bind(account_id)).await?;
        rows.iter().map(user).collect()
    }

    /// Enables or disables a user, and raises its epoch.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such user.
    pub async fn set_user_enabled(&self, id: &str, enabled: bool) -> Result<(), CatalogError> {
        let sql = "UPDATE iam_user SET enabled = $2, epoch = epoch + 1 WHERE id = $1";
        let changed = self.write(|| self.query(sql).bind(id).bind(i64::from(enabled))).await?;
        one_changed(changed, || format!("user {id}"))
    }

    /// Replaces a user's password, and raises its epoch.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such user.
    pub async fn set_password(&self, id: &str, password_hash: &str) -> Result<(), CatalogError> {
        let sql = "UPDATE iam_user SET password_hash = $2, epoch = epoch + 1 WHERE id = $1";
        let changed = self.write(|| self.query(sql).bind(id).bind(password_hash)).await?;
        one_changed(changed, || format!("user {id}"))
    }

    /// Stores an access key as it is given.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the key exists, [`CatalogError::NotFound`] if its user does not.
    pub async fn create_access_key(&self, key: &AccessKey) -> Result<(), CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            self.require_sealing_key(&mut tx).await?;
            insert_access_key(&mut tx, key).await?;
            tx.commit().await
        })
    }

    /// Returns the access keys of one user, or of all, oldest first.
    pub async fn list_access_keys(&self, user_id: Option<&str>) -> Result<Vec<AccessKey>, CatalogError> {
        let sql = "SELECT access_key, user_id, sealed_secret, enabled AS key_enabled, expires_at,
                created_at AS key_created_at
            FROM access_key WHERE $1 IS NULL OR user_id = $1 ORDER BY created_at, access_key";
        let rows = self.read_all(|| self.query(sql).bind(user_id)).await?;
        rows.iter().map(access_key_row).collect()
    }

    /// Enables or disables an access key; a change raises its epoch.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such key.
    pub async fn set_access_key_enabled(&self, access_key: &str, enabled: bool) -> Result<(), CatalogError> {
        let sql = "UPDATE access_key SET enabled = $2, epoch = epoch + CASE WHEN enabled = $2 THEN 0 ELSE 1 END
            WHERE access_key = $1";
        let changed = self.write(|| self.query(sql).bind(access_key).bind(i64::from(enabled))).await?;
        one_changed(changed, || format!("access key {access_key}"))
    }

    /// Replaces the sealed secret of an access key, and raises its epoch.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such key.
    pub async fn replace_secret(&self, access_key: &str, sealed_secret: &str) -> Result<(), CatalogError> {
        let sql = "UPDATE access_key SET sealed_secret = $2, epoch = epoch + 1 WHERE access_key = $1";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            self.require_sealing_key(&mut tx).await?;
            let changed = tx.execute(tx.query(sql).bind(access_key).bind(sealed_secret)).await?;
            one_changed(changed, || format!("access key {access_key}"))?;
            tx.commit().await
        })
    }

    /// Deletes the access keys that have expired by the database's clock, and returns their number.
    pub async fn delete_expired_access_keys(&self) -> Result<u64, CatalogError> {
        self.write(|| self.query("DELETE FROM access_key WHERE expires_at > 0 AND expires_at < {now}")).await
    }

    /// Creates the first account with its administrator in one transaction; returns `None` if there is an account
    /// already.
    pub async fn bootstrap(&self, new: NewBootstrap) -> Result<Option<User>, CatalogError> {
        let NewBootstrap { account_name, user_name, password_hash, access_key } = new;
        repeated!(Write, {
            let mut tx = self.begin().await?;
            self.require_sealing_key(&mut tx).await?;
            // If two processes start on one empty catalog, the second waits here and then finds an account.
            if let Some(lock) = self.dialect().lock_migrations() {
                tx.all(tx.query(lock)).await?;
            }
            if tx.optional(tx.query("SELECT id FROM account LIMIT 1")).await?.is_some() {
                return Ok(None);
            }
            let account = insert_account(&mut tx, &account_name).await?;
            let id = insert_user(&mut tx, &account.id, &user_name, Some(&password_hash), true).await?;
            if let Some((access_key, sealed_secret)) = &access_key {
                let key = AccessKey {
                    access_key: access_key.clone(),
                    user_id: id.clone(),
                    sealed_secret: sealed_secret.clone(),
                    enabled: true,
                    expires_at_ms: None,
                    created_at_ms: account.created_at_ms,
                };
                insert_access_key(&mut tx, &key).await?;
            }
            let user = user_in(&mut tx, &id).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Some(user))
        })
    }
}

async fn insert_account(tx: &mut Tx, name: &str) -> Result<Account, CatalogError> {
    let id = Uuid::new_v4().simple().to_string();
    let sql = "INSERT INTO account (id, name, created_at) VALUES ($1, $2, {now}) RETURNING id, name, created_at";
    let row = tx.optional(tx.query(sql).bind(id).bind(storable("account name", name)?)).await;
    let row = row.map_err(|error| taken(error, || format!("account {name}")))?;
    account(&row.ok_or_else(|| CatalogError::not_found("the new account"))?)
}

async fn insert_user(
    tx: &mut Tx,
    account_id: &str,
    name: &str,
    password_hash: Option<&str>,
    is_admin: bool,
) -> Result<String, CatalogError> {
    let id = Uuid::new_v4().simple().to_string();
    let sql = "INSERT INTO iam_user (id, account_id, name, password_hash, is_admin, enabled, epoch, created_at)
        VALUES ($1, $2, $3, $4, $5, 1, 0, {now})";
    let statement = tx
        .query(sql)
        .bind(&id)
        .bind(account_id)
        .bind(storable("user name", name)?)
        .bind(password_hash)
        .bind(i64::from(is_admin));
    match tx.execute(statement).await {
        Ok(_) => Ok(id),
        Err(error) if is_foreign_key_violation(&error) => Err(CatalogError::not_found(format!("account {account_id}"))),
        Err(error) => Err(taken(error, || format!("user {name}"))),
    }
}

async fn user_in(tx: &mut Tx, id: &str) -> Result<User, CatalogError> {
    let row = tx.optional(tx.query(concat!(select_user!(), "WHERE u.id = $1")).bind(id)).await?;
    user(&row.ok_or_else(|| CatalogError::not_found(format!("user {id}")))?)
}

pub(crate) async fn insert_access_key(tx: &mut Tx, key: &AccessKey) -> Result<(), CatalogError> {
    let sql = "INSERT INTO access_key (access_key, user_id, sealed_secret, enabled, expires_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let statement = tx
        .query(sql)
        .bind(storable("access key", &key.access_key)?)
        .bind(&key.user_id)
        .bind(&key.sealed_secret)
        .bind(i64::from(key.enabled))
        .bind(key.expires_at_ms.unwrap_or(0))
        .bind(key.created_at_ms);
    match tx.execute(statement).await {
        Ok(_) => Ok(()),
        Err(error) if is_foreign_key_violation(&error) => Err(CatalogError::not_found(format!("user {}", key.user_id))),
        Err(error) => Err(taken(error, || format!("access key {}", key.access_key))),
    }
}

fn taken(error: CatalogError, what: impl FnOnce() -> String) -> CatalogError {
    if is_unique_violation(&error) { CatalogError::conflict(what()) } else { error }
}

fn account(row: &AnyRow) -> Result<Account, CatalogError> {
    Ok(Account { id: row.text("id")?, name: row.text("name")?, created_at_ms: row.number("created_at")? })
}

pub(crate) fn user(row: &AnyRow) -> Result<User, CatalogError> {
    Ok(User {
        id: row.text("id")?,
        name: row.text("name")?,
        account_id: row.text("account_id")?,
        account_name: row.text("account_name")?,
        password_hash: row.optional_text("password_hash")?,
        is_admin: row.flag("is_admin")?,
        enabled: row.flag("enabled")?,
        epoch: row.number("epoch")?,
        created_at_ms: row.number("created_at")?,
    })
}

pub(crate) fn access_key_row(row: &AnyRow) -> Result<AccessKey, CatalogError> {
    let expires_at_ms = row.number("expires_at")?;
    Ok(AccessKey {
        access_key: row.text("access_key")?,
        user_id: row.text("user_id")?,
        sealed_secret: row.text("sealed_secret")?,
        enabled: row.flag("key_enabled")?,
        expires_at_ms: (expires_at_ms != 0).then_some(expires_at_ms),
        created_at_ms: row.number("key_created_at")?,
    })
}
