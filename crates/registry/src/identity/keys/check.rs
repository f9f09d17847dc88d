//! Checks whether the key files are the ones that a catalog is used with.
//!
//! The catalog records a value that identifies each key. A missing file is created only while there is no account yet;
//! a file that differs from the recorded one is refused. Never: creating a key in place of one that somebody relies on.

use std::path::{Path, PathBuf};

use transship_catalog::Catalog;

use super::{KeyError, Keys, Master, REGION_KEY_FILE, RegionKey, SECRETS_KEY_FILE, files};

/// The keys that were found, without creating any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundKeys {
    /// The missing files; the first start creates them.
    pub missing: Vec<&'static str>,
    /// The public half of `region.key`, if that file exists.
    pub region_public_key: Option<String>,
}

impl Keys {
    /// Reads the keys of a catalog, and creates them at the first start.
    ///
    /// Finishes or undoes a replacement that was interrupted.
    ///
    /// # Errors
    /// When a file is unusable, is missing although the catalog has accounts, or is not the one that the catalog uses.
    pub async fn of_catalog(data_dir: &Path, catalog: &Catalog) -> Result<Self, KeyError> {
        for name in Self::FILES {
            finish_replacement(data_dir, name, catalog).await?;
        }
        let missing = Self::compare(data_dir, catalog).await?.missing;
        let keys = Self::load_or_create(data_dir)?;
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

    /// Whether a region with these files and this catalog would start, as far as its keys go; changes nothing.
    ///
    /// An interrupted replacement counts as finished or undone, whichever the start will do.
    ///
    /// # Errors
    /// As [`Keys::of_catalog`].
    pub async fn compare(data_dir: &Path, catalog: &Catalog) -> Result<FoundKeys, KeyError> {
        let notes_keys = catalog.notes_keys().await?;
        let mut found = FoundKeys::default();
        let mut differs = None;
        let mut sentences = Vec::new();
        for name in Self::FILES {
            let noted = if notes_keys { catalog.key_check(name).await? } else { None };
            let path = path_after_start(data_dir, name, noted.as_deref())?;
            let Some(check) = check_of(&path, name)? else {
                found.missing.push(name);
                sentences.push(missing_sentence(data_dir, name, noted.as_deref()));
                continue;
            };
            let is_foreign = match (&noted, name) {
                (Some(noted), _) => *noted != check,
                // A catalog from before keys were recorded: that the key opens a secret proves the same.
                (None, SECRETS_KEY_FILE) => !opens_secrets(&path, catalog).await?,
                (None, _) => false,
            };
            if is_foreign {
                differs.get_or_insert_with(|| KeyError::file(&data_dir.join(name), foreign(name, noted.as_deref())));
            }
            if name == REGION_KEY_FILE {
                found.region_public_key = Some(check);
            }
        }
        if !found.missing.is_empty() && catalog.account_count().await? > 0 {
            return Err(KeyError::Missing(sentences.join("\n")));
        }
        differs.map_or(Ok(found), Err)
    }

    /// As [`Keys::compare`] before there is a catalog: checks only whether the existing files are usable.
    ///
    /// # Errors
    /// When a file cannot be read, holds something else, or is readable by other users of the machine.
    pub fn look(data_dir: &Path) -> Result<FoundKeys, KeyError> {
        let mut found = FoundKeys::default();
        for name in Self::FILES {
            match check_of(&data_dir.join(name), name)? {
                None => found.missing.push(name),
                Some(check) if name == REGION_KEY_FILE => found.region_public_key = Some(check),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// The values that the catalog records for the files.
    pub(crate) fn checks(&self) -> [(&'static str, &str); 2] {
        [(REGION_KEY_FILE, &self.region_check), (SECRETS_KEY_FILE, &self.secrets_check)]
    }
}

/// The value that identifies the key in a file; `None` if the file does not exist.
pub(super) fn check_of(path: &Path, name: &str) -> Result<Option<String>, KeyError> {
    let Some(text) = files::load(path)? else { return Ok(None) };
    Ok(Some(if name == REGION_KEY_FILE {
        RegionKey::from_text(path, &text)?.check()
    } else {
        Master::from_text(path, &text)?.check()
    }))
}

/// Puts a new key in place if the catalog has recorded it, otherwise deletes it.
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

/// Where the key will be once an interrupted replacement is finished.
fn path_after_start(data_dir: &Path, name: &str, noted: Option<&str>) -> Result<PathBuf, KeyError> {
    let path = data_dir.join(name);
    let beside = files::beside(&path);
    let is_noted = noted.is_some() && check_of(&beside, name)?.as_deref() == noted;
    Ok(if is_noted { beside } else { path })
}

/// Whether a `secrets.key` opens a secret of the catalog; `true` if the catalog has none.
async fn opens_secrets(path: &Path, catalog: &Catalog) -> Result<bool, KeyError> {
    let Some((access_key, sealed)) = catalog.any_sealed_secret().await? else { return Ok(true) };
    let Some(text) = files::load(path)? else { return Ok(false) };
    Ok(Master::from_text(path, &text)?.opens(&access_key, &sealed))
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
