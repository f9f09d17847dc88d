//! What a pull asks: from a name to what is stored under it, in one query each.

use sqlx::any::AnyRow;
use transship_oci::{Digest, Reference, RepositoryName};

use crate::blobs::{Blob, blob};
use crate::row::Columns as _;
use crate::version::Version;
use crate::{Catalog, CatalogError};

/// What lies under a name, and the namespace that had the name: one of the same name may be another tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled<T> {
    /// The number of the namespace, never used twice.
    pub namespace_id: i64,
    /// What was asked for.
    pub content: T,
}

/// A manifest as a pull finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// The bytes, unless they are more than was asked for.
    pub raw: Option<Vec<u8>>,
}

impl<T> Pulled<T> {
    fn read(row: &AnyRow, content: impl FnOnce(&AnyRow) -> Result<T, CatalogError>) -> Result<Self, CatalogError> {
        Ok(Self { namespace_id: row.number("namespace_id")?, content: content(row)? })
    }
}

impl Catalog {
    /// The state of the catalog, as cheap to ask as memory. What was read after asking holds as long as the answer stays
    /// the same. `None` when there is no cheap way to know: on `PostgreSQL`, where others write too.
    pub fn version(&self) -> Option<Version> {
        self.version_file()?.read()
    }

    /// The manifest with that digest, or that a tag points at now, in the repository of that name. Its bytes are read when
    /// they are `most_bytes` at most.
    pub async fn pull_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        most_bytes: u64,
    ) -> Result<Option<Pulled<PulledManifest>>, CatalogError> {
        macro_rules! columns {
            () => {
                "SELECT m.digest AS digest, m.media_type AS media_type, octet_length(m.raw) AS size_bytes,
                CASE WHEN octet_length(m.raw) <= $4 THEN m.raw END AS raw, n.id AS namespace_id
                FROM namespace n JOIN repository r ON r.namespace_id = n.id "
            };
        }
        let (sql, reference) = match reference {
            Reference::Digest(digest) => (
                concat!(
                    columns!(),
                    "JOIN manifest m ON m.repository_id = r.id WHERE n.name = $1 AND r.name = $2 AND m.digest = $3"
                ),
                digest.as_str(),
            ),
            Reference::Tag(tag) => (
                concat!(
                    columns!(),
                    "JOIN tag t ON t.repository_id = r.id
                    JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest
                    WHERE n.name = $1 AND r.name = $2 AND t.name = $3"
                ),
                tag.as_str(),
            ),
        };
        let (namespace, repository) = (name.namespace().as_str(), name.repository().as_str());
        let most = i64::try_from(most_bytes).unwrap_or(i64::MAX);
        let query = || self.query(sql).bind(namespace).bind(repository).bind(reference).bind(most);
        let row = self.read_optional(query).await?;
        let manifest = |row: &AnyRow| {
            Ok(PulledManifest {
                digest: row.parsed("digest")?,
                media_type: row.text("media_type")?,
                size_bytes: row.size("size_bytes")?,
                raw: row.optional_text("raw")?.map(String::into_bytes),
            })
        };
        row.as_ref().map(|row| Pulled::read(row, manifest)).transpose()
    }

    /// A blob, when the repository of that name links it and it is in service.
    pub async fn pull_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Pulled<Blob>>, CatalogError> {
        let sql = "SELECT b.digest, b.size_bytes, b.location, n.id AS namespace_id
            FROM namespace n JOIN repository r ON r.namespace_id = n.id
            JOIN blob_link l ON l.repository_id = r.id JOIN blob b ON b.digest = l.digest
            WHERE n.name = $1 AND r.name = $2 AND l.digest = $3 AND b.quarantined_at = 0";
        let (namespace, repository) = (name.namespace().as_str(), name.repository().as_str());
        let row = self.read_optional(|| self.query(sql).bind(namespace).bind(repository).bind(digest.as_str())).await?;
        row.as_ref().map(|row| Pulled::read(row, blob)).transpose()
    }
}
