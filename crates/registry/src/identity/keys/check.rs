//! Whether the key files are those that a catalog is used with.
//!
//! The catalog notes what identifies each key. A file that is missing is made only while there is no account yet; a file that is not the
//! noted one is refused. Never: making a key in place of one that somebody relies on.

use std::path::Path;

use transship_catalog::Catalog;

use super::{KeyError, Keys, Master, REGION_KEY_FILE, RegionKey, SECRETS_KEY_FILE, files};

impl Keys {
    /// Reads the keys of a catalog, and makes them at the first start. Finishes, or undoes, a replacement that was cut off.
    ///
    /// # Errors
    /// When a file cannot be used, is missing though the catalog has accounts, or is not the one that the catalog is used with.
    pub async fn of_catalog(data_dir: &Path, catalog: &Catalog) -> Result<Self, KeyError> {
        for name in Self::FILES {
            finish_replacement(data_dir, name, catalog).await?;
        }
        let mut missing = Vec::new();
        for name in Self::FILES {
            if files::load(&data_dir.join(name))?.is_none() {
                missing.push(name);
            }
        }
        if !missing.is_empty() && catalog.account_count().await? > 0 {
            let mut sentences = Vec::new();
            for name in missing {
                let noted = catalog.key_check(name).await?;
                sentences.push(missing_sentence(data_dir, name, noted.as_deref()));
            }
            return Err(KeyError::Missing(sentences.join("\n")));
        }
        let keys = Self::load_or_create(data_dir)?;
        // A catalog from before keys were noted: a secret that the key opens says as much. Before anything is noted of other files.
        if catalog.key_check(SECRETS_KEY_FILE).await?.is_none()
            && let Some((access_key, sealed)) = catalog.any_sealed_secret().await?
            && keys.open(&access_key, &sealed).is_none()
        {
            return Err(KeyError::file(&data_dir.join(SECRETS_KEY_FILE), foreign(SECRETS_KEY_FILE, None)));
        }
        for (name, check) in keys.checks() {
            if missing.contains(&name) {
                catalog.replace_key_check(name, check).await?;
                continue;
            }
            let noted = catalog.note_key_check(name, check).await?;
            if noted != check {
                return Err(KeyError::file(&data_dir.join(name), foreign(name, Some(&noted))));
            }
        }
        catalog.seals_with(&keys.secrets_check);
        Ok(keys)
    }

    /// What the catalog notes of each file.
    pub(crate) fn checks(&self) -> [(&'static str, &str); 2] {
        [(REGION_KEY_FILE, &self.region_check), (SECRETS_KEY_FILE, &self.secrets_check)]
    }
}

/// What identifies the key in a file; nothing when the file is not there.
pub(super) fn check_of(path: &Path, name: &str) -> Result<Option<String>, KeyError> {
    let Some(text) = files::load(path)? else { return Ok(None) };
    Ok(Some(if name == REGION_KEY_FILE {
        RegionKey::from_text(path, &text)?.check()
    } else {
        Master::from_text(path, &text)?.check()
    }))
}

/// A new key whose transaction is in the catalog takes its place; one whose transaction never was goes away.
pub(super) async fn finish_replacement(data_dir: &Path, name: &str, catalog: &Catalog) -> Result<(), KeyError> {
    let Some(pending) = files::Pending::left_behind(&data_dir.join(name))? else { return Ok(()) };
    let noted = catalog.key_check(name).await?;
    if noted.is_some() && noted == check_of(pending.path(), name)? {
        tracing::warn!(file = name, "a replacement of this key was cut off; the new key takes its place now");
        pending.take_over()
    } else {
        tracing::warn!(file = name, "a replacement of this key was cut off; the old key stays");
        pending.discard()
    }
}

fn missing_sentence(data_dir: &Path, name: &str, noted: Option<&str>) -> String {
    let path = data_dir.join(name);
    let path = path.display();
    if name == REGION_KEY_FILE {
        let public = noted.map(|key| format!(" ({key})")).unwrap_or_default();
        return format!(
            "{path} is missing, and the catalog has accounts: it is the identity of the region, whose public key{public} the peers have \
             pinned; put it back from the backup, or, when it is lost, make a new one with `transship admin rekey --region` and give its \
             public key to every peer"
        );
    }
    format!(
        "{path} is missing, and the catalog has accounts: without it no access key can be checked, because their secret keys are sealed \
         with it; put it back from the backup, or, when it is lost, make a new one with `transship admin rekey --lost`: then all tokens \
         end, and every access key needs a new secret key"
    )
}

fn foreign(name: &str, noted: Option<&str>) -> String {
    if name == REGION_KEY_FILE {
        let noted = noted.unwrap_or_default();
        return format!(
            "is not the key of this catalog, which is used with the public key {noted}; put the right file back, or, to go on as another \
             identity, move the file away, run `transship admin rekey --region`, and give the new public key to every peer"
        );
    }
    "is not the key of this catalog, so no secret key can be opened with it; put the right file back, or, when it is lost, move this one \
     away and run `transship admin rekey --lost`"
        .to_owned()
}
