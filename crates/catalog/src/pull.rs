//! Queries of a pull. Each goes from a name to the content stored under it in one statement.

use sqlx::any::AnyRow;
use transship_oci::{Digest, Reference, RepositoryName};

use crate::blobs::{Blob, blob};
use crate::row::Columns as _;
use crate::version::Version;
use crate::{Catalog, CatalogError};

/// The content under a name, and the namespace that had the name: later another namespace may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled<T> {
    /// The number of the namespace, never used twice.
    pub namespace_id: i64,
    /// The content.
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
    /// The bytes; `None` if there are more than the caller allows.
    pub raw: Option<Vec<u8>>,
}

impl<T> Pulled<T> {
    fn read(row: &AnyRow, content: impl FnOnce(&AnyRow) -> Result<T, CatalogError>) -> Result<Self, CatalogError> {
        Ok(Self { namespace_id: row.number("namespace_id")?, content: content(row)? })
    }
}

impl Catalog {
    /// Returns the version of the catalog's content, about as cheaply as reading memory. What is read after this call
    /// is valid as long as the version stays the same. `None` if there is no cheap way to know: on `PostgreSQL`, where
    /// others write too.
    pub fn version(&self) -> Option<Version> {
        self.version_file()?.read()
    }

    /// Returns the manifest with that digest, or the one that the tag points at now, in the repository of that name.
    /// Its bytes are read only if they are at most `most_bytes`.
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

    /// Returns a blob if the repository of that name links it and it is in service.
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
