//! Manifests, stored as the raw bytes that were pushed, beside columns for what queries need.

use std::collections::HashMap;

use sqlx::any::AnyRow;
use transship_oci::{Digest, Reference, Tag};

use crate::blobs::repository_absent;
use crate::immutability::{moved_away, touch_judging};
use crate::jobs::cancel_jobs_of_tags;
use crate::quotas::manifest_changed;
use crate::retry::repeated;
use crate::row::{Columns as _, count_column, list_of, list_parameter, size_column, storable};
use crate::tags::move_tag;
use crate::tx::Tx;
use crate::{Catalog, CatalogError, PutManifestError, TagCondition};

/// A manifest to store, and the tags to move to it.
#[derive(Clone, Debug)]
pub struct PutManifest<'a> {
    /// The repository.
    pub repository_id: i64,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its artifact type as the referrers API reports it.
    pub artifact_type: Option<String>,
    /// The manifest that it refers to, which need not exist.
    pub subject_digest: Option<Digest>,
    /// Its config; `None` for an index.
    pub config_digest: Option<Digest>,
    /// Sum of the sizes of its layers.
    pub layers_size_bytes: u64,
    /// Its bytes, which are UTF-8.
    pub raw: &'a [u8],
    /// The blobs that it needs, with the sizes that it states.
    pub blobs: &'a [(Digest, u64)],
    /// The manifests that it needs, with the sizes that it states.
    pub children: &'a [(Digest, u64)],
    /// The tags to move.
    pub tags: &'a [Tag],
    /// When the tags may move.
    pub condition: TagCondition,
    /// Whether blobs and manifests that it needs may be missing.
    pub sparse: bool,
}

/// The outcome of storing a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestPut {
    /// Whether the repository did not have it before.
    pub created: bool,
    /// The tags that moved, with the digests that they pointed at before.
    pub moved: Vec<(Tag, Option<Digest>)>,
}

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its artifact type as the referrers API reports it.
    pub artifact_type: Option<String>,
    /// The manifest that it refers to.
    pub subject_digest: Option<Digest>,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// When it, or another manifest that needs it, was last pushed.
    pub pushed_at_ms: i64,
}

macro_rules! manifest_columns {
    () => {
        "m.digest AS digest, m.media_type AS media_type, m.artifact_type AS artifact_type, \
         m.subject_digest AS subject_digest, m.raw AS raw, m.pushed_at AS pushed_at"
    };
}
pub(crate) use manifest_columns;

impl Catalog {
    /// Stores a manifest and moves its tags in one transaction.
    ///
    /// The transaction updates the link of every blob and the row of every child that the manifest needs, so that none
    /// of them can be deleted meanwhile.
    pub async fn put_manifest(&self, put: PutManifest<'_>) -> Result<ManifestPut, PutManifestError> {
        // PostgreSQL cannot hold NUL in a text, and no JSON text has one.
        let raw = std::str::from_utf8(put.raw).ok().filter(|raw| !raw.contains('\0'));
        let raw =
            raw.ok_or_else(|| CatalogError::Invalid { what: format!("manifest {}, which is no text,", put.digest) })?;
        let layers_size_bytes = size_column(put.layers_size_bytes)?;
        let (blobs, children) = (
            list_parameter(put.blobs.iter().map(|(digest, _)| digest)),
            list_parameter(put.children.iter().map(|(digest, _)| digest)),
        );
        let mut tags: Vec<&Tag> = put.tags.iter().collect();
        tags.sort_unstable();
        tags.dedup();
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let mut missing = Vec::new();
            if !put.blobs.is_empty() {
                missing = touch_links(&mut tx, &put, &blobs).await?;
            }
            if !put.children.is_empty() {
                touch_children(&mut tx, &put, &children).await?;
            }
            let created = insert_manifest(&mut tx, &put, raw, layers_size_bytes).await?;
            if created {
                let is_there = |digest: &&Digest| !missing.contains(*digest);
                let there = list_parameter(put.blobs.iter().map(|(digest, _)| digest).filter(is_there));
                for (sql, list) in [
                    (
                        "INSERT INTO manifest_blob (repository_id, manifest_digest, blob_digest)
                        SELECT DISTINCT $1, $2, value FROM {list:$3}",
                        &there,
                    ),
                    (
                        "INSERT INTO manifest_child (repository_id, manifest_digest, child_digest)
                        SELECT DISTINCT $1, $2, value FROM {list:$3}",
                        &children,
                    ),
                ] {
                    tx.execute(tx.query(sql).bind(put.repository_id).bind(put.digest.as_str()).bind(list)).await?;
                }
                if !missing.is_empty() {
                    let sql = "INSERT INTO manifest_missing_blob (repository_id, manifest_digest, blob_digest)
                        SELECT DISTINCT $1, $2, value FROM {list:$3}";
                    let list = list_parameter(&missing);
                    tx.execute(tx.query(sql).bind(put.repository_id).bind(put.digest.as_str()).bind(list)).await?;
                }
            }
            let mut moved = Vec::new();
            for &tag in &tags {
                let old = move_tag(&mut tx, put.repository_id, tag, &put.digest, &put.condition).await?;
                if old.as_ref() != Some(&put.digest) {
                    moved.push((tag.clone(), old));
                }
            }
            touch_judging(&mut tx, put.repository_id, moved_away(&moved)).await?;
            let made = moved.iter().filter(|(_, old)| old.is_none()).count();
            let bytes = if created { count_column(raw.len()) } else { 0 };
            manifest_changed(&mut tx, put.repository_id, &put.digest, bytes, count_column(made)).await?;
            tx.commit().await?;
            Ok(ManifestPut { created, moved })
        })
    }

    /// Returns the manifest with that digest, or the one that the tag points at now.
    pub async fn find_manifest(
        &self,
        repository_id: i64,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, CatalogError> {
        let (sql, name) = match reference {
            Reference::Digest(digest) => (
                concat!(
                    "SELECT ",
                    manifest_columns!(),
                    " FROM manifest m WHERE m.repository_id = $1 AND m.digest = $2"
                ),
                digest.as_str(),
            ),
            Reference::Tag(tag) => (
                concat!(
                    "SELECT ",
                    manifest_columns!(),
                    " FROM tag t JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest
                    WHERE t.repository_id = $1 AND t.name = $2"
                ),
                tag.as_str(),
            ),
        };
        let row = self.read_optional(|| self.query(sql).bind(repository_id).bind(name)).await?;
        row.as_ref().map(stored).transpose()
    }

    /// Returns the size of the manifest that a tag points at now.
    pub async fn tagged_size(&self, repository_id: i64, tag: &Tag) -> Result<Option<u64>, CatalogError> {
        let sql = "SELECT octet_length(m.raw) AS size_bytes FROM tag t
            JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest
            WHERE t.repository_id = $1 AND t.name = $2";
        let row = self.read_optional(|| self.query(sql).bind(repository_id).bind(tag.as_str())).await?;
        row.as_ref().map(|row| row.size("size_bytes")).transpose()
    }

    /// Returns those of the given digests whose manifests the repository holds, sorted.
    pub async fn manifest_exists(&self, repository_id: i64, digests: &[Digest]) -> Result<Vec<Digest>, CatalogError> {
        let sql = "SELECT digest FROM manifest
            WHERE repository_id = $1 AND digest IN (SELECT value FROM {list:$2})";
        let list = list_parameter(digests);
        list_of(&self.read_all(|| self.query(sql).bind(repository_id).bind(&list)).await?)
    }

    /// Deletes a manifest and the tags that point at it. Returns `false` if there was none.
    ///
    /// Manifests that it names or that refer to it stay. An index that names it stays too, incomplete, because the OCI
    /// specification leaves the order of deletions to the client.
    ///
    /// The grace of its blobs' links begins again, because another push may just have been told that the blobs are
    /// there.
    ///
    /// # Errors
    /// [`CatalogError::Immutable`] if one of the tags is immutable.
    pub async fn delete_manifest(&self, repository_id: i64, digest: &Digest) -> Result<bool, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let links = "UPDATE blob_link SET linked_at = {now} WHERE repository_id = $1 AND digest IN (
                SELECT digest FROM blob_link WHERE repository_id = $1 AND digest IN (
                    SELECT blob_digest FROM manifest_blob WHERE repository_id = $1 AND manifest_digest = $2)
                ORDER BY digest{for_touch})";
            tx.execute(tx.query(links).bind(repository_id).bind(digest.as_str())).await?;
            // From here on nobody can point a tag at it.
            let lock = "SELECT digest FROM manifest WHERE repository_id = $1 AND digest = $2{for_update}";
            if tx.optional(tx.query(lock).bind(repository_id).bind(digest.as_str())).await?.is_none() {
                return Ok(false);
            }
            let sql = "DELETE FROM tag WHERE repository_id = $1 AND digest = $2 RETURNING name";
            let tags = tx.all(tx.query(sql).bind(repository_id).bind(digest.as_str())).await?;
            let tags = tags.iter().map(|row| row.text("name")).collect::<Result<Vec<String>, _>>()?;
            let sql = "DELETE FROM manifest WHERE repository_id = $1 AND digest = $2
                RETURNING CAST(octet_length(raw) AS BIGINT) AS size_bytes";
            let gone = tx.optional(tx.query(sql).bind(repository_id).bind(digest.as_str())).await?;
            let bytes = gone.map_or(Ok(0), |row| row.number("size_bytes"))?;
            if !tags.is_empty() {
                cancel_jobs_of_tags(&mut tx, repository_id, &list_parameter(&tags)).await?;
            }
            touch_judging(&mut tx, repository_id, tags.iter().map(String::as_str)).await?;
            manifest_changed(&mut tx, repository_id, digest, -bytes, -count_column(tags.len())).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }
}

/// Updates the link of every blob that a manifest needs, so that none can be deleted before the manifest is stored.
/// Returns the missing blobs, if the manifest may lack some.
async fn touch_links(tx: &mut Tx, put: &PutManifest<'_>, blobs: &str) -> Result<Vec<Digest>, PutManifestError> {
    // Locked in order, so that two pushes with common blobs do not deadlock.
    let touch = "UPDATE blob_link SET linked_at = {now} WHERE repository_id = $1 AND digest IN (
            SELECT digest FROM blob_link WHERE repository_id = $1 AND digest IN (SELECT value FROM {list:$2})
            ORDER BY digest{for_touch})";
    let read = "SELECT b.digest, b.size_bytes, b.quarantined_at FROM blob_link l JOIN blob b ON b.digest = l.digest
        WHERE l.repository_id = $1 AND l.digest IN (SELECT value FROM {list:$2})";
    let touched = tx.execute(tx.query(touch).bind(put.repository_id).bind(blobs)).await?;
    let rows = tx.all(tx.query(read).bind(put.repository_id).bind(blobs)).await?;
    if touched != rows.len() as u64 {
        // A link was added in between, and is not locked.
        return Err(CatalogError::Busy.into());
    }
    let mut sizes: HashMap<Digest, u64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        // A quarantined blob cannot be pulled, so no new manifest may rely on it.
        if row.number("quarantined_at")? == 0 {
            sizes.insert(row.parsed("digest")?, row.size("size_bytes")?);
        }
    }
    let mut missing = Vec::new();
    for (digest, expected) in put.blobs {
        match sizes.get(digest) {
            Some(actual) if actual == expected => {}
            Some(&actual) => {
                return Err(PutManifestError::SizeDiffers { digest: digest.clone(), expected: *expected, actual });
            }
            None if put.sparse => missing.push(digest.clone()),
            None => return Err(PutManifestError::BlobUnknown(digest.clone())),
        }
    }
    Ok(missing)
}

/// Updates the row of every manifest that a manifest needs.
async fn touch_children(tx: &mut Tx, put: &PutManifest<'_>, children: &str) -> Result<(), PutManifestError> {
    let sql = "UPDATE manifest SET pushed_at = {now} WHERE repository_id = $1 AND digest IN (
            SELECT digest FROM manifest WHERE repository_id = $1 AND digest IN (SELECT value FROM {list:$2})
            ORDER BY digest{for_touch})
        RETURNING digest, CAST(octet_length(raw) AS BIGINT) AS size_bytes";
    let rows = tx.all(tx.query(sql).bind(put.repository_id).bind(children)).await?;
    let mut sizes: HashMap<Digest, u64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        sizes.insert(row.parsed("digest")?, row.size("size_bytes")?);
    }
    for (digest, expected) in put.children {
        match sizes.get(digest) {
            Some(actual) if actual != expected => {
                return Err(PutManifestError::SizeDiffers {
                    digest: digest.clone(),
                    expected: *expected,
                    actual: *actual,
                });
            }
            None if !put.sparse => return Err(PutManifestError::ChildUnknown(digest.clone())),
            _ => {}
        }
    }
    Ok(())
}

/// Inserts the row of a manifest, or updates the existing one. Returns whether it inserted.
async fn insert_manifest(
    tx: &mut Tx,
    put: &PutManifest<'_>,
    raw: &str,
    layers_size_bytes: i64,
) -> Result<bool, CatalogError> {
    let sql = "INSERT INTO manifest (repository_id, digest, media_type, artifact_type, subject_digest, config_digest,
            layers_size_bytes, pushed_at, raw)
        VALUES ($1, $2, $3, $4, $5, $6, $7, {now}, $8) ON CONFLICT (repository_id, digest) DO NOTHING";
    let statement = tx
        .query(sql)
        .bind(put.repository_id)
        .bind(put.digest.as_str())
        .bind(storable("media type", &put.media_type)?)
        .bind(put.artifact_type.as_deref())
        .bind(put.subject_digest.as_ref().map(Digest::as_str))
        .bind(put.config_digest.as_ref().map(Digest::as_str))
        .bind(layers_size_bytes)
        .bind(raw);
    let inserted = tx.execute(statement).await.map_err(|error| repository_absent(error, put.repository_id))?;
    if inserted > 0 {
        return Ok(true);
    }
    let sql = "UPDATE manifest SET pushed_at = {now} WHERE repository_id = $1 AND digest = $2";
    match tx.execute(tx.query(sql).bind(put.repository_id).bind(put.digest.as_str())).await? {
        // Deleted between the two statements.
        0 => Err(CatalogError::Busy),
        _ => Ok(false),
    }
}

pub(crate) fn stored(row: &AnyRow) -> Result<StoredManifest, CatalogError> {
    Ok(StoredManifest {
        digest: row.parsed("digest")?,
        media_type: row.text("media_type")?,
        artifact_type: row.optional_text("artifact_type")?,
        subject_digest: row.optional_parsed("subject_digest")?,
        raw: row.text("raw")?.into_bytes(),
        pushed_at_ms: row.number("pushed_at")?,
    })
}
