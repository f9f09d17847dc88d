//! Queries for the check of a whole region: pages of everything, and rows that point at nothing.
//!
//! Foreign keys prevent most of these; the check finds those that exist all the same.

use sqlx::any::AnyRow;
use transship_oci::{Digest, RepositoryName};

use crate::row::{Columns as _, limit_parameter, list_of, list_parameter};
use crate::{Catalog, CatalogError};

/// A manifest, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldManifest {
    /// The number of its repository.
    pub repository_id: i64,
    /// The name of its repository.
    pub repository: RepositoryName,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// A row that points at a missing row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The repository, as `namespace/path`.
    pub repository: String,
    /// A tag, or the digest of a blob.
    pub name: String,
}

impl Catalog {
    /// Returns one page of all manifests, sorted by repository and digest.
    pub async fn held_manifests(
        &self,
        after: Option<(i64, &Digest)>,
        limit: usize,
    ) -> Result<Vec<HeldManifest>, CatalogError> {
        let sql = "SELECT m.repository_id, n.name AS namespace, r.name AS repository, m.digest, m.media_type, m.raw
            FROM manifest m JOIN repository r ON r.id = m.repository_id JOIN namespace n ON n.id = r.namespace_id
            WHERE (m.repository_id, m.digest) > ($1, $2) ORDER BY m.repository_id, m.digest LIMIT $3";
        let (id, digest) = after.map_or((0, ""), |(id, digest)| (id, digest.as_str()));
        let rows = self.read_all(|| self.query(sql).bind(id).bind(digest).bind(limit_parameter(limit))).await?;
        let held = |row: &AnyRow| {
            Ok(HeldManifest {
                repository_id: row.number("repository_id")?,
                repository: RepositoryName::new(row.parsed("namespace")?, row.parsed("repository")?),
                digest: row.parsed("digest")?,
                media_type: row.text("media_type")?,
                raw: row.text("raw")?.into_bytes(),
            })
        };
        rows.iter().map(held).collect()
    }

    /// Returns those of the given blobs that the repository does not link or that have no row, sorted.
    pub async fn missing_links(&self, repository_id: i64, digests: &[Digest]) -> Result<Vec<Digest>, CatalogError> {
        let sql = "SELECT DISTINCT value AS digest FROM {list:$2} WHERE NOT EXISTS (
            SELECT 1 FROM blob_link l JOIN blob b ON b.digest = l.digest WHERE l.repository_id = $1 AND l.digest = value)";
        let list = list_parameter(digests);
        list_of(&self.read_all(|| self.query(sql).bind(repository_id).bind(&list)).await?)
    }

    /// Returns at most `limit` tags whose manifest is missing.
    pub async fn dangling_tags(&self, limit: usize) -> Result<Vec<Dangling>, CatalogError> {
        let sql =
            "SELECT COALESCE(n.name || '/' || r.name, 'repository ' || t.repository_id) AS repository, t.name AS name
            FROM tag t LEFT JOIN repository r ON r.id = t.repository_id LEFT JOIN namespace n ON n.id = r.namespace_id
            WHERE NOT EXISTS (SELECT 1 FROM manifest m WHERE m.repository_id = t.repository_id AND m.digest = t.digest)
            ORDER BY t.repository_id, t.name LIMIT $1";
        self.dangling(sql, limit).await
    }

    /// Returns at most `limit` links whose blob has no row.
    pub async fn dangling_links(&self, limit: usize) -> Result<Vec<Dangling>, CatalogError> {
        let sql = "SELECT COALESCE(n.name || '/' || r.name, 'repository ' || l.repository_id) AS repository, l.digest AS name
            FROM blob_link l LEFT JOIN repository r ON r.id = l.repository_id LEFT JOIN namespace n ON n.id = r.namespace_id
            WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.digest = l.digest)
            ORDER BY l.repository_id, l.digest LIMIT $1";
        self.dangling(sql, limit).await
    }

    async fn dangling(&self, sql: &'static str, limit: usize) -> Result<Vec<Dangling>, CatalogError> {
        let rows = self.read_all(|| self.query(sql).bind(limit_parameter(limit))).await?;
        rows.iter().map(|row| Ok(Dangling { repository: row.text("repository")?, name: row.text("name")? })).collect()
    }
}
