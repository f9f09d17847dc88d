//! Notes which keys a catalog is used with, and replaces the sealing key in one transaction. It never sees a key, only
//! what identifies it.

use crate::retry::repeated;
use crate::row::Columns as _;
use crate::tx::Tx;
use crate::{Catalog, CatalogError};

/// Number of access keys read at once while all are sealed again; each is a few hundred bytes.
const PAGE: i64 = 500;

/// The name under which the key that seals secrets is noted.
pub const SECRETS_KEY: &str = "secrets.key";

/// The outcome of replacing the sealing key: what happened to the sealed secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealedAgain {
    /// Secrets that are sealed with the new key.
    pub sealed: u64,
    /// Secrets that could not be opened; their access keys are disabled.
    pub disabled: u64,
    /// Secrets of temporary access keys that could not be opened; the access keys are deleted.
    pub deleted: u64,
}

impl Catalog {
    /// Returns whether these tables can note keys; older ones cannot.
    pub async fn notes_keys(&self) -> Result<bool, CatalogError> {
        self.has_table("key_check").await
    }

    /// Returns what identifies the key of that name, as noted last.
    pub async fn key_check(&self, name: &str) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT value FROM key_check WHERE name = $1";
        let row = self.read_optional(|| self.query(sql).bind(name)).await?;
        row.map(|row| row.text("value")).transpose()
    }

    /// Notes a key unless one is noted already, and returns the noted one.
    pub async fn note_key_check(&self, name: &str, value: &str) -> Result<String, CatalogError> {
        let sql = "INSERT INTO key_check (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        self.write(|| self.query(sql).bind(name).bind(value)).await?;
        self.key_check(name).await?.ok_or_else(|| CatalogError::not_found("the key that was just noted"))
    }

    /// Notes a key, and replaces the one that was noted.
    pub async fn replace_key_check(&self, name: &str, value: &str) -> Result<(), CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            note(&mut tx, name, value).await?;
            tx.commit().await
        })
    }

    /// Notes a new sealing key and seals every secret with it, in one transaction.
    ///
    /// `seal_again` gets an access key and its sealed secret, and returns the secret sealed with the new key, or `None`
    /// if it cannot open the old one.
    ///
    /// # Errors
    /// [`CatalogError::KeyReplaced`] if the noted key is not `known`; then nothing is changed.
    pub async fn replace_sealing_key(
        &self,
        known: Option<&str>,
        value: &str,
        seal_again: impl Fn(&str, &str) -> Option<String>,
    ) -> Result<SealedAgain, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            // From here on, transactions that create an access key wait for this one.
            let before = noted(&mut tx).await?;
            if before.as_deref() != known {
                return Err(CatalogError::KeyReplaced);
            }
            note(&mut tx, SECRETS_KEY, value).await?;
            let mut done = SealedAgain::default();
            let mut after = String::new();
            loop {
                let sql = "SELECT access_key, sealed_secret, expires_at FROM access_key
                    WHERE access_key > $1 ORDER BY access_key LIMIT $2";
                let rows = tx.all(tx.query(sql).bind(&after).bind(PAGE)).await?;
                let Some(last) = rows.last() else { break };
                after = last.text("access_key")?;
                for row in &rows {
                    let access_key = row.text("access_key")?;
                    if let Some(sealed) = seal_again(&access_key, &row.text("sealed_secret")?) {
                        let sql = "UPDATE access_key SET sealed_secret = $2 WHERE access_key = $1";
                        done.sealed += tx.execute(tx.query(sql).bind(&access_key).bind(sealed)).await?;
                    } else if row.number("expires_at")? > 0 {
                        let sql = "DELETE FROM access_key WHERE access_key = $1";
                        done.deleted += tx.execute(tx.query(sql).bind(&access_key)).await?;
                    } else {
                        let sql = "UPDATE access_key SET enabled = 0, epoch = epoch + 1 WHERE access_key = $1";
                        done.disabled += tx.execute(tx.query(sql).bind(&access_key)).await?;
                    }
                }
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(done)
        })
    }

    /// Returns any one access key and its sealed secret, to test a sealing key with.
    pub async fn any_sealed_secret(&self) -> Result<Option<(String, String)>, CatalogError> {
        let sql = "SELECT access_key, sealed_secret FROM access_key ORDER BY access_key LIMIT 1";
        let row = self.read_optional(|| self.query(sql)).await?;
        row.map(|row| Ok((row.text("access_key")?, row.text("sealed_secret")?))).transpose()
    }

    /// Sets, once, the key with which this process seals. From then on the process stores no secret if another key is
    /// noted.
    pub fn seals_with(&self, value: &str) {
        // A second call is by the same process, with the same key.
        let _ = self.sealing_check().set(value.to_owned());
    }

    /// Fails if the key with which this process seals has been replaced. Nobody can replace it until the transaction
    /// ends.
    pub(crate) async fn require_sealing_key(&self, tx: &mut Tx) -> Result<(), CatalogError> {
        let Some(own) = self.sealing_check().get() else { return Ok(()) };
        if noted(tx).await?.as_ref() == Some(own) { Ok(()) } else { Err(CatalogError::KeyReplaced) }
    }
}

async fn noted(tx: &mut Tx) -> Result<Option<String>, CatalogError> {
    let sql = "SELECT value FROM key_check WHERE name = $1{for_touch}";
    let row = tx.optional(tx.query(sql).bind(SECRETS_KEY)).await?;
    row.map(|row| row.text("value")).transpose()
}

async fn note(tx: &mut Tx, name: &str, value: &str) -> Result<(), CatalogError> {
    let sql = "INSERT INTO key_check (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
    tx.execute(tx.query(sql).bind(name).bind(value)).await.map(|_| ())
}
