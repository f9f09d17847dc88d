//! Access keys as logins use them, and temporary ones (`CreateSecret`), which become invalid when the user or the
//! access key that made them changes.
//!
//! A temporary login records the epochs that its user and its access key had when it was made. Every change of either
//! raises its epoch in the same transaction. So a login that was made meanwhile is invalid before its first use, and
//! undoing the change does not make it valid again.

use crate::accounts::{access_key_row, insert_access_key, user};
use crate::retry::repeated;
use crate::row::{Columns as _, one_changed};
use crate::{AccessKey, Catalog, CatalogError, User};

/// An access key with its user, whatever the state of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAccessKey {
    /// The key.
    pub key: AccessKey,
    /// The user that owns it.
    pub user: User,
    /// Rises when the key is enabled or disabled, and when its secret is replaced.
    pub epoch: i64,
    /// Whether it is a temporary login whose user or access key has changed since it was made.
    pub is_withdrawn: bool,
}

/// The user and the access key that make a temporary login, as they are at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeWith {
    /// The epoch of the user.
    pub user_epoch: i64,
    /// The access key and its epoch; `None` if the caller had a token.
    pub access_key: Option<(String, i64)>,
}

/// The condition that the user `u` and the access key that made the temporary login `k` have not changed since.
macro_rules! still_stands {
    () => {
        "(k.user_epoch = u.epoch AND (k.made_with IS NULL OR EXISTS (SELECT 1 FROM access_key m
            WHERE m.access_key = k.made_with AND m.enabled = 1 AND m.epoch = k.made_with_epoch)))"
    };
}

impl Catalog {
    /// An access key with its user, whatever the state of either.
    pub async fn find_access_key(&self, access_key: &str) -> Result<Option<FoundAccessKey>, CatalogError> {
        let sql = concat!(
            "SELECT k.access_key, k.user_id, k.sealed_secret, k.enabled AS key_enabled, k.expires_at,
                k.created_at AS key_created_at, k.epoch AS key_epoch, u.id, u.name, u.account_id,
                a.name AS account_name, u.password_hash, u.is_admin, u.enabled, u.epoch, u.created_at,
                CAST(CASE WHEN k.expires_at = 0 OR ",
            still_stands!(),
            " THEN 0 ELSE 1 END AS BIGINT) AS withdrawn
            FROM access_key k JOIN iam_user u ON u.id = k.user_id JOIN account a ON a.id = u.account_id
            WHERE k.access_key = $1"
        );
        let row = self.read_optional(|| self.query(sql).bind(access_key)).await?;
        row.map(|row| {
            Ok(FoundAccessKey {
                key: access_key_row(&row)?,
                user: user(&row)?,
                epoch: row.number("key_epoch")?,
                is_withdrawn: row.flag("withdrawn")?,
            })
        })
        .transpose()
    }

    /// Stores a temporary login, an access key that expires. The user keeps at most `most` valid ones: before the new
    /// one is stored, invalid ones are deleted, then the oldest.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the key exists, [`CatalogError::NotFound`] if its user does not.
    pub async fn create_login(&self, key: &AccessKey, made_with: &MadeWith, most: i64) -> Result<(), CatalogError> {
        let outdated = concat!(
            "DELETE FROM access_key WHERE user_id = $1 AND expires_at > 0 AND access_key NOT IN (
                SELECT k.access_key FROM access_key k JOIN iam_user u ON u.id = k.user_id
                WHERE k.user_id = $1 AND k.expires_at > {now} AND k.enabled = 1 AND ",
            still_stands!(),
            " ORDER BY k.created_at DESC, k.access_key LIMIT $2)"
        );
        let remember =
            "UPDATE access_key SET made_with = $2, made_with_epoch = $3, user_epoch = $4 WHERE access_key = $1";
        let (parent, parent_epoch) =
            made_with.access_key.as_ref().map_or((None, 0), |(key, epoch)| (Some(key), *epoch));
        repeated!(Write, {
            let mut tx = self.begin().await?;
            self.require_sealing_key(&mut tx).await?;
            // Without this lock, two calls at once would each find room for one.
            let hold = tx.query("UPDATE iam_user SET name = name WHERE id = $1").bind(&key.user_id);
            one_changed(tx.execute(hold).await?, || format!("user {}", key.user_id))?;
            tx.execute(tx.query(outdated).bind(&key.user_id).bind((most - 1).max(0))).await?;
            insert_access_key(&mut tx, key).await?;
            let statement = tx.query(remember).bind(&key.access_key).bind(parent).bind(parent_epoch);
            tx.execute(statement.bind(made_with.user_epoch)).await?;
            tx.commit().await
        })
    }
}
