//! Referrers of a manifest: signatures, SBOMs and everything else that names it as its subject.
//!
//! A page costs as much as it holds, and never holds more than a client and this process can take.

use transship_oci::Digest;

use crate::manifests::{StoredManifest, manifest_columns, stored};
use crate::row::{Columns as _, limit_parameter, list_parameter};
use crate::{Catalog, CatalogError};

/// Maximum bytes of manifests on one page, unless the first alone has more: the maximum size of one manifest.
const MAX_PAGE_BYTES: u64 = 4 << 20;

pub(crate) const PAGE: &str = "SELECT digest, octet_length(raw) AS size_bytes FROM manifest
    WHERE repository_id = $1 AND subject_digest = $2 AND digest > $3 ORDER BY digest LIMIT $4";
pub(crate) const PAGE_OF_TYPE: &str = "SELECT digest, octet_length(raw) AS size_bytes FROM manifest
    WHERE repository_id = $1 AND subject_digest = $2 AND artifact_type = $5 AND digest > $3 ORDER BY digest LIMIT $4";
pub(crate) const SUBJECT: &str = "SELECT subject_digest FROM manifest
    WHERE repository_id = $1 AND subject_digest >= $2 AND subject_digest < $3 ORDER BY subject_digest LIMIT 1";

/// One page of the referrers of a subject, sorted by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// The digests of the manifests.
    pub digests: Vec<Digest>,
    /// How many bytes these manifests have together.
    pub bytes: u64,
    /// The digest after which the next page begins; `None` on the last page.
    pub next: Option<Digest>,
}

impl Catalog {
    /// Returns one page of the manifests that refer to a subject, all or those of one artifact type.
    pub async fn referrers(
        &self,
        repository_id: i64,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Referrers, CatalogError> {
        if artifact_type.is_some_and(|kind| kind.contains('\0')) {
            // PostgreSQL accepts no NUL in a parameter.
            return Ok(Referrers::default());
        }
        let rows = self
            .read_all(|| {
                let sql = if artifact_type.is_some() { PAGE_OF_TYPE } else { PAGE };
                // Every digest is greater than the empty text.
                let after = after.map_or("", Digest::as_str);
                let statement = self.query(sql).bind(repository_id).bind(subject.as_str()).bind(after);
                // One more than the page holds, to know whether another page follows.
                let statement = statement.bind(limit_parameter(limit).saturating_add(1));
                if let Some(artifact_type) = artifact_type { statement.bind(artifact_type) } else { statement }
            })
            .await?;
        let mut page = Referrers::default();
        for row in rows.iter().take(limit) {
            let size_bytes = row.size("size_bytes")?;
            if page.bytes + size_bytes > MAX_PAGE_BYTES && !page.digests.is_empty() {
                break;
            }
            page.bytes += size_bytes;
            page.digests.push(row.parsed("digest")?);
        }
        if page.digests.len() < rows.len() {
            page.next = page.digests.last().cloned();
        }
        Ok(page)
    }

    /// Returns those of the given manifests that a repository holds, sorted by digest. All are read at once, so the
    /// caller must know their sizes.
    pub async fn manifests(&self, repository_id: i64, digests: &[Digest]) -> Result<Vec<StoredManifest>, CatalogError> {
        let sql = concat!(
            "SELECT ",
            manifest_columns!(),
            " FROM manifest m WHERE m.repository_id = $1 AND m.digest IN (SELECT value FROM {list:$2}) ORDER BY m.digest"
        );
        let list = list_parameter(digests);
        let rows = self.read_all(|| self.query(sql).bind(repository_id).bind(&list)).await?;
        rows.iter().map(stored).collect()
    }

    /// Returns the first digest that begins with `start` and that some manifest names as its subject.
    pub async fn subject_like(&self, repository_id: i64, start: &str) -> Result<Option<Digest>, CatalogError> {
        // No digit of a digest is greater than f.
        let end = format!("{start}g");
        let row = self.read_optional(|| self.query(SUBJECT).bind(repository_id).bind(start).bind(&end)).await?;
        row.map(|row| row.parsed("subject_digest")).transpose()
    }
}
