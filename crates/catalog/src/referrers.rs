//! What refers to a manifest: its signatures, SBOMs and whatever else names it as its subject.
//!
//! Owns: that a page costs what it holds, and never holds more than a client and this process can take.

use transship_oci::Digest;

use crate::manifests::{StoredManifest, manifest_columns, stored};
use crate::row::{Columns as _, limit_parameter, list_parameter};
use crate::{Catalog, CatalogError};

/// The most bytes of manifests on one page, unless the first has more: as many as one manifest may have.
const MAX_PAGE_BYTES: u64 = 4 << 20;

pub(crate) const PAGE: &str = "SELECT digest, octet_length(raw) AS size_bytes FROM manifest
    WHERE repository_id = $1 AND subject_digest = $2 AND digest > $3 ORDER BY digest LIMIT $4";
pub(crate) const PAGE_OF_TYPE: &str = "SELECT digest, octet_length(raw) AS size_bytes FROM manifest
    WHERE repository_id = $1 AND subject_digest = $2 AND artifact_type = $5 AND digest > $3 ORDER BY digest LIMIT $4";
pub(crate) const SUBJECT: &str = "SELECT subject_digest FROM manifest
    WHERE repository_id = $1 AND subject_digest >= $2 AND subject_digest < $3 ORDER BY subject_digest LIMIT 1";

/// One page of what refers to a subject, by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// The digests of the manifests.
    pub digests: Vec<Digest>,
    /// How many bytes these manifests have together.
    pub bytes: u64,
    /// Where the next page begins, when there is one: after this.
    pub next: Option<Digest>,
}

impl Catalog {
    /// One page of the manifests that refer to a subject, all or those of one artifact type.
    pub async fn referrers(
        &self,
        repository_id: i64,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Referrers, CatalogError> {
        if artifact_type.is_some_and(|kind| kind.contains('\0')) {
            // PostgreSQL cannot even be asked for it.
            return Ok(Referrers::default());
        }
        let rows = self
            .read_all(|| {
                let sql = if artifact_type.is_some() { PAGE_OF_TYPE } else { PAGE };
                // Every digest is greater than the empty text.
                let after = after.map_or("", Digest::as_str);
                let statement = self.query(sql).bind(repository_id).bind(subject.as_str()).bind(after);
                // One more than the page has, to know whether another follows.
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

    /// Those of some manifests that a repository holds, by digest. All are read at once, so the caller knows their sizes.
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

    /// The first subject, of those that something refers to, whose digest begins like this.
    pub async fn subject_like(&self, repository_id: i64, start: &str) -> Result<Option<Digest>, CatalogError> {
        // No digit of a digest is greater than f.
        let end = format!("{start}g");
        let row = self.read_optional(|| self.query(SUBJECT).bind(repository_id).bind(start).bind(&end)).await?;
        row.map(|row| row.parsed("subject_digest")).transpose()
    }
}
