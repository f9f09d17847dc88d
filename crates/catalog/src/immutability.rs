//! Immutable tags: which tags of a repository may neither move to another digest nor be deleted.
//!
//! Owns the patterns of a repository and their meaning. Each change of tags is checked in its own transaction, while it
//! holds the repository's row. So a change that began before the patterns were set and ends later is checked against
//! them.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use transship_oci::{DigestAlgorithm, Tag};

use crate::row::{Columns as _, limit_parameter, one_changed, touched};
use crate::tx::Tx;
use crate::{Catalog, CatalogError};

/// Maximum number of patterns of one repository: each change of tags compiles them again.
const MAX_PATTERNS: usize = 32;
/// Maximum length of a pattern: that of a tag.
const MAX_PATTERN_BYTES: usize = 128;
/// Prefix of an exception among the stored patterns.
const EXCEPTION: char = '!';
/// Number of tags read at once when a whole repository is to be deleted.
const PAGE: usize = 1000;

/// The patterns of one repository. A tag is immutable if one of `tags` matches it and none of `except` does.
///
/// `*` stands for any characters, `?` for one, `[a-z]` for one of a set, `{a,b}` for one of several. Tags that name a
/// digest, `sha256-…` with or without a suffix, are never immutable: clients keep growing lists of referrers and
/// signatures there.
#[derive(Clone, Debug, Default)]
pub struct ImmutableTags {
    tags: Vec<String>,
    except: Vec<String>,
    matching: GlobSet,
    excepted: GlobSet,
}

impl ImmutableTags {
    /// Parses patterns as a person wrote them.
    ///
    /// # Errors
    /// A sentence that says what is wrong, with the pattern if one is invalid.
    pub fn new(tags: Vec<String>, except: Vec<String>) -> Result<Self, String> {
        let count = tags.len() + except.len();
        if count > MAX_PATTERNS {
            return Err(format!("{count} patterns; a repository takes at most {MAX_PATTERNS}"));
        }
        if tags.is_empty() && !except.is_empty() {
            return Err("exceptions without a pattern that they are exceptions of".to_owned());
        }
        let (matching, excepted) = (glob_set(&tags)?, glob_set(&except)?);
        Ok(Self { tags, except, matching, excepted })
    }

    /// Returns the patterns of immutable tags.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Returns the patterns of exceptions.
    pub fn except(&self) -> &[String] {
        &self.except
    }

    /// Returns whether a tag may neither move nor be deleted.
    pub fn holds(&self, tag: &str) -> bool {
        self.matching.is_match(tag) && !self.excepted.is_match(tag) && !names_a_digest(tag)
    }

    fn column(&self) -> String {
        if self.tags.is_empty() {
            return String::new();
        }
        let exceptions = self.except.iter().map(|pattern| format!("{EXCEPTION}{pattern}"));
        self.tags.iter().cloned().chain(exceptions).collect::<serde_json::Value>().to_string()
    }

    fn from_column(text: &str) -> Result<Self, CatalogError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let corrupt = || CatalogError::Corrupt { what: format!("immutable_tags {text:?}") };
        let patterns: Vec<String> = serde_json::from_str(text).map_err(|_| corrupt())?;
        let (except, tags): (Vec<_>, Vec<_>) = patterns.into_iter().partition(|pattern| pattern.starts_with(EXCEPTION));
        let except = except.into_iter().map(|pattern| pattern[EXCEPTION.len_utf8()..].to_owned()).collect();
        Self::new(tags, except).map_err(|_| corrupt())
    }
}

fn glob_set(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
    }
    set.build().map_err(|error| error.to_string())
}

fn glob(pattern: &str) -> Result<Glob, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*?[]{},!".contains(&byte);
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES || !pattern.bytes().all(fine) {
        return Err(format!(
            "{pattern:?} is not a pattern of tags: expected 1 to {MAX_PATTERN_BYTES} characters of a tag, with * ? [] {{}} for what varies"
        ));
    }
    if pattern.starts_with(EXCEPTION) {
        return Err(format!("{pattern:?} starts with !: give an exception as such, without it"));
    }
    GlobBuilder::new(pattern)
        .backslash_escape(false)
        .build()
        .map_err(|error| format!("{pattern:?} is not a pattern of tags: {}", error.kind()))
}

/// Returns whether a tag belongs to a digest, as the referrers tag of the OCI specification and the tags of signing
/// tools do.
fn names_a_digest(tag: &str) -> bool {
    let Some((algorithm, rest)) = tag.split_once('-') else { return false };
    let hex = rest.split('.').next().unwrap_or_default();
    algorithm.parse::<DigestAlgorithm>().is_ok() && hex.len() >= 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Catalog {
    /// Returns the patterns of a repository.
    pub async fn immutable_tags(&self, repository_id: i64) -> Result<ImmutableTags, CatalogError> {
        let sql = "SELECT immutable_tags FROM repository WHERE id = $1";
        let row = self.read_optional(|| self.query(sql).bind(repository_id)).await?;
        let row = row.ok_or_else(|| CatalogError::not_found(format!("repository {repository_id}")))?;
        ImmutableTags::from_column(&row.text("immutable_tags")?)
    }

    /// Replaces the patterns of a repository.
    pub async fn set_immutable_tags(&self, repository_id: i64, patterns: &ImmutableTags) -> Result<(), CatalogError> {
        let sql = "UPDATE repository SET immutable_tags = $2 WHERE id = $1";
        let changed = self.write(|| self.query(sql).bind(repository_id).bind(patterns.column())).await?;
        one_changed(changed, || format!("repository {repository_id}"))
    }
}

/// Marks a repository as changed, and fails if one of `lost`, the tags that moved away from a digest or were deleted,
/// is immutable.
///
/// Call it at the end of a transaction, because all pushes to a repository wait for each other here.
pub(crate) async fn touch_judging(
    tx: &mut Tx,
    repository_id: i64,
    lost: impl IntoIterator<Item = &str>,
) -> Result<(), CatalogError> {
    let sql = concat!("UPDATE repository SET ", touched!(), " WHERE id = $1 RETURNING immutable_tags");
    let row = tx.optional(tx.query(sql).bind(repository_id)).await?;
    let row = row.ok_or_else(|| CatalogError::not_found(format!("repository {repository_id}")))?;
    let patterns = row.text("immutable_tags")?;
    if patterns.is_empty() {
        return Ok(());
    }
    let patterns = ImmutableTags::from_column(&patterns)?;
    refuse(lost.into_iter().find(|tag| patterns.holds(tag)))
}

/// Fails if a repository has an immutable tag. This transaction must hold the repository's row.
pub(crate) async fn judge_all(tx: &mut Tx, repository_id: i64, patterns: &str) -> Result<(), CatalogError> {
    let patterns = ImmutableTags::from_column(patterns)?;
    let sql = "SELECT name FROM tag WHERE repository_id = $1 AND name > $2 ORDER BY name LIMIT $3";
    let mut after = String::new();
    while !patterns.tags.is_empty() {
        let page = tx.all(tx.query(sql).bind(repository_id).bind(&after).bind(limit_parameter(PAGE))).await?;
        let names = page.iter().map(|row| row.text("name")).collect::<Result<Vec<String>, _>>()?;
        refuse(names.iter().map(String::as_str).find(|name| patterns.holds(name)))?;
        match names.into_iter().last() {
            Some(last) if page.len() == PAGE => after = last,
            _ => break,
        }
    }
    Ok(())
}

fn refuse(tag: Option<&str>) -> Result<(), CatalogError> {
    tag.map_or(Ok(()), |tag| Err(CatalogError::Immutable { tag: tag.to_owned() }))
}

/// Returns the tags that moved away from another digest.
pub(crate) fn moved_away(moved: &[(Tag, Option<transship_oci::Digest>)]) -> impl Iterator<Item = &str> {
    moved.iter().filter(|(_, old)| old.is_some()).map(|(tag, _)| tag.as_str())
}

#[cfg(test)]
mod tests {
    use super::ImmutableTags;

    fn patterns(tags: &[&str], except: &[&str]) -> Result<ImmutableTags, String> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        ImmutableTags::new(owned(tags), owned(except))
    }

    #[test]
    fn patterns_and_exceptions() {
        let set = patterns(&["v*", "release-[0-9]", "{lts,stable}"], &["v*-rc?", "v0"]).unwrap();
        let stored = ImmutableTags::from_column(&set.column()).unwrap();
        assert_eq!((stored.tags(), stored.except()), (set.tags(), set.except()));
        for tag in ["v1", "v1.2.3", "v", "release-7", "lts", "v1-rc10"] {
            assert!(stored.holds(tag), "{tag}");
        }
        for tag in ["latest", "V1", "v1-rc1", "v0", "release-77", "xv1", "release-x"] {
            assert!(!stored.holds(tag), "{tag}");
        }
        assert!(!ImmutableTags::default().holds("v1"));
    }

    #[test]
    fn lists_of_referrers_always_grow() {
        let all = patterns(&["*"], &[]).unwrap();
        let digest = format!("sha256-{}", "0a".repeat(32));
        assert!(!all.holds(&digest) && !all.holds(&format!("{digest}.sig")));
        assert!(all.holds("sha256-beta") && all.holds("latest"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["", "a/b", "a b", "[a", "{a", "!v*", "a\\b", "ü", &"v".repeat(129)] {
            let refused = patterns(&[bad], &[]).unwrap_err();
            assert!(refused.contains(&format!("{bad:?}")), "{refused}");
        }
        assert!(patterns(&[], &["v1"]).is_err());
        assert!(patterns(&vec!["a"; 33], &[]).is_err());
    }
}
