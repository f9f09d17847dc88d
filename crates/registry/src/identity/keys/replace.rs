//! Replaces a key so that a kill at any moment leaves a region that starts.
//!
//! The new key is written beside the old one, durably. One transaction records it in the catalog and, for
//! `secrets.key`, seals every secret again. Then the new file is renamed over the old one. A process that opens the
//! region in between sees from the catalog's record which of the two files is correct ([`super::check`]).

use std::path::Path;

use transship_catalog::{Catalog, SealedAgain};

use super::check::{check_of, finish_replacement};
use super::files::{self, Pending};
use super::{KeyError, Keys, Master, REGION_KEY_FILE, RegionKey, SECRETS_KEY_FILE};

/// Name of the file with the region key that will be used next.
const NEXT_REGION_KEY_FILE: &str = "region.key.next";

/// How to replace `secrets.key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKey {
    /// The old key exists, so that secrets can be opened with it.
    FromOld,
    /// The old key is lost, and with it the secrets that it sealed.
    WithoutOld,
}

/// What the replacement of `secrets.key` did.
pub type Replaced = SealedAgain;

impl Keys {
    /// Replaces `secrets.key` and seals every secret again.
    ///
    /// No process may serve the catalog meanwhile; one that does stops storing secrets, and exits when it notices.
    ///
    /// # Errors
    /// When the old file is not the one of the catalog, when it is missing ([`NewKey::FromOld`]) or still there
    /// ([`NewKey::WithoutOld`]).
    pub async fn replace_secrets_key(data_dir: &Path, catalog: &Catalog, how: NewKey) -> Result<Replaced, KeyError> {
        finish_replacement(data_dir, SECRETS_KEY_FILE, catalog).await?;
        let path = data_dir.join(SECRETS_KEY_FILE);
        let noted = catalog.key_check(SECRETS_KEY_FILE).await?;
        let old = match (files::load(&path)?, how) {
            (None, NewKey::WithoutOld) => None,
            (None, NewKey::FromOld) => {
                return Err(KeyError::file(
                    &path,
                    "is missing; put it back from the backup, or, when it is lost, give --lost: then every access key needs a new secret key",
                ));
            }
            (Some(_), NewKey::WithoutOld) => {
                return Err(KeyError::file(
                    &path,
                    "is there, so it is not lost: leave --lost out, or move a wrong file away",
                ));
            }
            (Some(text), NewKey::FromOld) => Some(Master::from_text(&path, &text)?),
        };
        if let Some(old) = &old
            && !is_of_catalog(old, noted.as_deref(), catalog).await?
        {
            return Err(KeyError::file(&path, "is not the key of this catalog; put the right one back first"));
        }
        let text = files::generate(&path, SECRETS_KEY_FILE)?;
        let new = Master::from_text(&path, &text)?;
        let pending = Pending::write(&path, &text)?;
        let (old, sealing) = (old.map(|old| old.sealing()), new.sealing());
        let again = |access_key: &str, sealed: &str| {
            let secret = old.as_ref()?.open(access_key, sealed)?;
            Some(sealing.seal(access_key, &secret))
        };
        match catalog.replace_sealing_key(noted.as_deref(), &new.check(), again).await {
            Ok(done) => {
                pending.take_over()?;
                Ok(done)
            }
            // Whether the commit arrived is not always known. The next process to open the region decides by the
            // catalog's record.
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces `region.key` and returns the new public key.
    ///
    /// Uses the key that [`Keys::prepare_region_key`] created, if there is one.
    pub async fn replace_region_key(data_dir: &Path, catalog: &Catalog) -> Result<String, KeyError> {
        finish_replacement(data_dir, REGION_KEY_FILE, catalog).await?;
        let path = data_dir.join(REGION_KEY_FILE);
        let (current, noted) = (check_of(&path, REGION_KEY_FILE)?, catalog.key_check(REGION_KEY_FILE).await?);
        if current.is_some() && noted.is_some() && current != noted {
            return Err(KeyError::file(
                &path,
                "is not the key of this catalog; put the right one back, or move it away",
            ));
        }
        if let Some(public) = drop_used_next(data_dir)? {
            tracing::warn!(
                file = REGION_KEY_FILE,
                "a replacement by the prepared key was cut off; that key is in place, and nothing else is changed"
            );
            return Ok(public);
        }
        let next = data_dir.join(NEXT_REGION_KEY_FILE);
        let text = match files::load(&next)? {
            Some(text) => text,
            None => files::generate(&path, REGION_KEY_FILE)?,
        };
        let public = RegionKey::from_text(&next, &text)?.check();
        let pending = Pending::write(&path, &text)?;
        catalog.replace_key_check(REGION_KEY_FILE, &public).await?;
        pending.take_over()?;
        remove(&next)?;
        Ok(public)
    }

    /// Creates the region's next key, unless it exists already, and returns its public key.
    ///
    /// Peers can then pin the key before it is used.
    pub fn prepare_region_key(data_dir: &Path) -> Result<String, KeyError> {
        drop_used_next(data_dir)?;
        let text = files::load_or_create_as(data_dir, NEXT_REGION_KEY_FILE, REGION_KEY_FILE)?;
        Ok(RegionKey::from_text(&data_dir.join(NEXT_REGION_KEY_FILE), &text)?.check())
    }
}

/// Whether the catalog was used with this `secrets.key`.
///
/// In a catalog from before keys were recorded, a secret that the key opens proves it.
async fn is_of_catalog(key: &Master, noted: Option<&str>, catalog: &Catalog) -> Result<bool, KeyError> {
    if let Some(noted) = noted {
        return Ok(key.check() == noted);
    }
    let some = catalog.any_sealed_secret().await?;
    Ok(some.is_none_or(|(access_key, sealed)| key.opens(&access_key, &sealed)))
}

/// Deletes the file of the next key if that key is already the current one, and returns its public key then.
///
/// Such a file is left when a replacement is interrupted at its very end.
fn drop_used_next(data_dir: &Path) -> Result<Option<String>, KeyError> {
    let next = data_dir.join(NEXT_REGION_KEY_FILE);
    let Some(prepared) = check_of(&next, REGION_KEY_FILE)? else { return Ok(None) };
    if check_of(&data_dir.join(REGION_KEY_FILE), REGION_KEY_FILE)?.as_ref() != Some(&prepared) {
        return Ok(None);
    }
    remove(&next)?;
    Ok(Some(prepared))
}

fn remove(path: &Path) -> Result<(), KeyError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(KeyError::file(path, format!("cannot be removed: {error}")))
        }
        _ => Ok(()),
    }
}
