//! Quotas: what a namespace uses and what it may use, counted in this one place.
//!
//! The transaction that changes what is counted also changes the counter, at its end. So all changes of one namespace
//! happen one after another there: two pushes at once never exceed a limit that each alone would keep. Content that is
//! there already counts once and is never refused again.
//!
//! Bytes are those of blobs and of manifests, and those that upload sessions have received so far
//! ([`crate::reservations`]). The last have a counter of their own until the session has become a blob or is gone.

use sqlx::any::AnyRow;
use transship_oci::{Digest, NamespaceName};

use crate::row::{Columns as _, size_column};
use crate::tx::Tx;
use crate::{Catalog, CatalogError, QuotaExceeded, Quotas, Resource};

/// One limit as it is set for one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The region's default.
    Default,
    /// No limit, whatever the default is.
    Unlimited,
    /// This limit.
    At(i64),
}

impl Limit {
    const UNLIMITED: i64 = -1;

    fn from_column(number: Option<i64>) -> Self {
        match number {
            None => Self::Default,
            Some(number) if number < 0 => Self::Unlimited,
            Some(number) => Self::At(number),
        }
    }

    const fn column(self) -> Option<i64> {
        match self {
            Self::Default => None,
            Self::Unlimited => Some(Self::UNLIMITED),
            Self::At(number) => Some(number),
        }
    }

    const fn or(self, default: Option<i64>) -> Option<i64> {
        match self {
            Self::Default => default,
            Self::Unlimited => None,
            Self::At(number) => Some(number),
        }
    }
}

/// The usage and limit of one resource of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The resource.
    pub resource: Resource,
    /// How much is used, as counted.
    pub used: i64,
    /// The limit as it is set for the namespace.
    pub said: Limit,
    /// The limit in effect; `None` means no limit.
    pub limit: Option<i64>,
}

/// A namespace with what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceUsage {
    /// Its number.
    pub namespace_id: i64,
    /// Its name.
    pub namespace: NamespaceName,
    /// Bytes, repositories, tags.
    pub usage: [Usage; 3],
}

/// A counter whose value is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCounter {
    /// What it counts.
    pub resource: Resource,
    /// The value of the counter.
    pub says: i64,
    /// The right value.
    pub is: i64,
}

macro_rules! usage_columns {
    () => {
        "id, name, used_bytes, upload_bytes, used_repositories, used_tags, limit_bytes, limit_repositories, limit_tags"
    };
}
pub(crate) use usage_columns;

/// The values of the counters of the namespace `n`, and the right values. A manifest that several repositories hold
/// counts in the one with the lowest number.
macro_rules! counted {
    () => {
        "n.used_bytes, n.upload_bytes, n.used_repositories, n.used_tags,
         (SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blob b WHERE b.digest IN
            (SELECT l.digest FROM blob_link l JOIN repository r ON r.id = l.repository_id WHERE r.namespace_id = n.id))
         + (SELECT CAST(COALESCE(SUM(octet_length(m.raw)), 0) AS BIGINT)
            FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE r.namespace_id = n.id AND NOT EXISTS (
                SELECT 1 FROM manifest o JOIN repository p ON p.id = o.repository_id
                WHERE o.digest = m.digest AND p.namespace_id = n.id AND o.repository_id < m.repository_id)) AS bytes,
         (SELECT CAST(COALESCE(SUM(u.reserved_bytes), 0) AS BIGINT) FROM upload u JOIN repository r ON r.id = u.repository_id
            WHERE r.namespace_id = n.id) AS uploads,
         (SELECT COUNT(*) FROM repository r WHERE r.namespace_id = n.id) AS repositories,
         (SELECT COUNT(*) FROM tag t JOIN repository r ON r.id = t.repository_id WHERE r.namespace_id = n.id) AS tags"
    };
}

impl Catalog {
    /// Returns whether the bytes of a namespace are limited.
    pub async fn has_byte_limit(&self, namespace: &NamespaceName) -> Result<bool, CatalogError> {
        let row = self
            .read_optional(|| self.query("SELECT limit_bytes FROM namespace WHERE name = $1").bind(namespace.as_str()));
        let Some(row) = row.await? else { return Ok(false) };
        Ok(Limit::from_column(row.optional_number("limit_bytes")?).or(self.default_quotas().bytes).is_some())
    }

    /// Fails if the namespace has no room for the rest of an upload of `size_bytes`, of which `reserved_bytes` count
    /// already.
    ///
    /// Content that the namespace links already needs no room. Without a digest that cannot be known, and the length
    /// alone decides.
    ///
    /// # Errors
    /// [`CatalogError::QuotaExceeded`].
    pub async fn require_room(
        &self,
        namespace: &NamespaceName,
        digest: Option<&Digest>,
        size_bytes: u64,
        reserved_bytes: u64,
    ) -> Result<(), CatalogError> {
        let sql = concat!("SELECT ", usage_columns!(), " FROM namespace WHERE name = $1");
        let row = self.read_optional(|| self.query(sql).bind(namespace.as_str())).await?;
        let Some(row) = row else { return Ok(()) };
        let usage = self.usage(&row)?;
        let asked = size_column(size_bytes.saturating_sub(reserved_bytes))?;
        let Some(refused) = refused(&usage, Resource::Bytes, asked) else { return Ok(()) };
        if let Some(digest) = digest {
            let sql = "SELECT l.digest FROM blob_link l JOIN repository r ON r.id = l.repository_id
                WHERE l.digest = $1 AND r.namespace_id = $2 LIMIT 1";
            let linked = self.read_optional(|| self.query(sql).bind(digest.as_str()).bind(usage.namespace_id)).await?;
            if linked.is_some() {
                return Ok(());
            }
        }
        Err(refused.into())
    }

    /// Returns one page of namespaces with their usage, sorted by number, after the number `after`.
    pub async fn namespace_usages(&self, after: i64, limit: i64) -> Result<Vec<NamespaceUsage>, CatalogError> {
        let sql = concat!("SELECT ", usage_columns!(), " FROM namespace WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = self.read_all(|| self.query(sql).bind(after).bind(limit)).await?;
        rows.iter().map(|row| self.usage(row)).collect()
    }

    /// Sets limits of a namespace; the others stay as they are. Returns the limits now in effect; `None` if there is no
    /// such namespace. A limit below the current usage is accepted: nothing is deleted, and nothing new fits in.
    pub async fn set_quotas(
        &self,
        namespace: &NamespaceName,
        limits: &[(Resource, Limit)],
    ) -> Result<Option<NamespaceUsage>, CatalogError> {
        for (resource, limit) in limits {
            let sql = match resource {
                Resource::Bytes => "UPDATE namespace SET limit_bytes = $2 WHERE name = $1",
                Resource::Repositories => "UPDATE namespace SET limit_repositories = $2 WHERE name = $1",
                Resource::Tags => "UPDATE namespace SET limit_tags = $2 WHERE name = $1",
            };
            self.write(|| self.query(sql).bind(namespace.as_str()).bind(limit.column())).await?;
        }
        let sql = concat!("SELECT ", usage_columns!(), " FROM namespace WHERE name = $1");
        let row = self.read_optional(|| self.query(sql).bind(namespace.as_str())).await?;
        row.as_ref().map(|row| self.usage(row)).transpose()
    }

    /// Counts again what a namespace has, and returns the counters that are wrong.
    pub async fn wrong_counters(&self, namespace_id: i64) -> Result<Vec<WrongCounter>, CatalogError> {
        // One statement, so that counters and rows are of one moment.
        let sql = concat!("SELECT ", counted!(), " FROM namespace n WHERE n.id = $1");
        let row = self.read_optional(|| self.query(sql).bind(namespace_id)).await?;
        let Some(row) = row else { return Ok(Vec::new()) };
        wrong(&row)
    }

    /// Corrects the counters of a namespace, and returns those that were wrong.
    pub async fn recount(&self, namespace_id: i64) -> Result<Vec<WrongCounter>, CatalogError> {
        crate::retry::repeated!(Write, {
            let mut tx = self.begin().await?;
            let lock = "SELECT id FROM namespace WHERE id = $1{for_touch}";
            tx.all(tx.query(lock).bind(namespace_id)).await?;
            let sql = concat!("SELECT ", counted!(), " FROM namespace n WHERE n.id = $1");
            let Some(row) = tx.optional(tx.query(sql).bind(namespace_id)).await? else { return Ok(Vec::new()) };
            let found = wrong(&row)?;
            if !found.is_empty() {
                let sql =
                    "UPDATE namespace SET used_bytes = $2, upload_bytes = $3, used_repositories = $4, used_tags = $5
                    WHERE id = $1";
                let mut statement = tx.query(sql).bind(namespace_id);
                for column in ["bytes", "uploads", "repositories", "tags"] {
                    statement = statement.bind(row.number(column)?);
                }
                tx.execute(statement).await?;
                tx.commit().await?;
            }
            Ok::<_, CatalogError>(found)
        })
    }

    fn usage(&self, row: &AnyRow) -> Result<NamespaceUsage, CatalogError> {
        usage(row, &self.default_quotas())
    }
}

fn wrong(row: &AnyRow) -> Result<Vec<WrongCounter>, CatalogError> {
    let mut found = Vec::new();
    for (resource, says, is) in [
        (Resource::Bytes, "used_bytes", "bytes"),
        (Resource::Bytes, "upload_bytes", "uploads"),
        (Resource::Repositories, "used_repositories", "repositories"),
        (Resource::Tags, "used_tags", "tags"),
    ] {
        let (says, is) = (row.number(says)?, row.number(is)?);
        if says != is {
            found.push(WrongCounter { resource, says, is });
        }
    }
    Ok(found)
}

pub(crate) fn usage(row: &AnyRow, defaults: &Quotas) -> Result<NamespaceUsage, CatalogError> {
    let one = |resource: Resource, used: i64, limit: &str| {
        let said = Limit::from_column(row.optional_number(limit)?);
        Ok::<_, CatalogError>(Usage { resource, used, said, limit: said.or(defaults.of(resource)) })
    };
    let bytes = row.number("used_bytes")?.saturating_add(row.number("upload_bytes")?);
    Ok(NamespaceUsage {
        namespace_id: row.number("id")?,
        namespace: row.parsed("name")?,
        usage: [
            one(Resource::Bytes, bytes, "limit_bytes")?,
            one(Resource::Repositories, row.number("used_repositories")?, "limit_repositories")?,
            one(Resource::Tags, row.number("used_tags")?, "limit_tags")?,
        ],
    })
}

/// Returns the error if `asked` more does not fit in. A change that asks for nothing more is never refused.
fn refused(usage: &NamespaceUsage, resource: Resource, asked: i64) -> Option<QuotaExceeded> {
    if asked > 0 { exceeded(usage, resource, asked) } else { None }
}

/// Returns the error if the usage and `asked` more are together beyond the limit.
pub(crate) fn exceeded(usage: &NamespaceUsage, resource: Resource, asked: i64) -> Option<QuotaExceeded> {
    let one = usage.usage.iter().find(|one| one.resource == resource)?;
    let limit = one.limit.filter(|limit| one.used.saturating_add(asked) > *limit)?;
    Some(QuotaExceeded { resource, namespace: usage.namespace.clone(), limit, used: one.used, asked })
}

/// Locks a namespace until the transaction ends, so that nobody else changes its counters.
async fn hold(tx: &mut Tx, namespace_id: i64) -> Result<NamespaceUsage, CatalogError> {
    let sql = concat!("SELECT ", usage_columns!(), " FROM namespace WHERE id = $1{for_touch}");
    let row = tx.optional(tx.query(sql).bind(namespace_id)).await?;
    usage(&row.ok_or_else(|| CatalogError::not_found(format!("namespace {namespace_id}")))?, &tx.default_quotas())
}

/// Locks the namespace of a repository, which must exist.
async fn hold_of(tx: &mut Tx, repository_id: i64) -> Result<NamespaceUsage, CatalogError> {
    let sql = concat!(
        "SELECT ",
        usage_columns!(),
        " FROM namespace WHERE id = (SELECT namespace_id FROM repository WHERE id = $1){for_touch}"
    );
    let row = tx.optional(tx.query(sql).bind(repository_id)).await?;
    usage(&row.ok_or_else(|| CatalogError::not_found(format!("repository {repository_id}")))?, &tx.default_quotas())
}

/// By how much a transaction changes the counters of a namespace.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    bytes: i64,
    /// Bytes of upload sessions.
    uploads: i64,
    repositories: i64,
    tags: i64,
}

async fn change(tx: &mut Tx, usage: &NamespaceUsage, by: Change) -> Result<(), CatalogError> {
    let Change { bytes, uploads, repositories, tags } = by;
    if [bytes, uploads, repositories, tags] == [0; 4] {
        return Ok(());
    }
    for (resource, more) in [
        // Reserved bytes have passed the check already.
        (Resource::Bytes, bytes.saturating_add(uploads)),
        (Resource::Repositories, repositories),
        (Resource::Tags, tags),
    ] {
        if let Some(refused) = refused(usage, resource, more) {
            return Err(refused.into());
        }
    }
    let sql = "UPDATE namespace SET used_bytes = used_bytes + $2, upload_bytes = upload_bytes + $3,
            used_repositories = used_repositories + $4, used_tags = used_tags + $5 WHERE id = $1";
    let statement = tx.query(sql).bind(usage.namespace_id).bind(bytes).bind(uploads).bind(repositories).bind(tags);
    tx.execute(statement).await.map(|_| ())
}

/// Returns the bytes of those of the given blobs that no other repository of the namespace links.
async fn bytes_only_here(
    tx: &mut Tx,
    namespace_id: i64,
    repository_id: i64,
    digests: &str,
) -> Result<i64, CatalogError> {
    let sql = "SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) AS bytes FROM blob b
        WHERE b.digest IN (SELECT value FROM {list:$1}) AND NOT EXISTS (
            SELECT 1 FROM blob_link l JOIN repository r ON r.id = l.repository_id
            WHERE l.digest = b.digest AND r.namespace_id = $2 AND l.repository_id <> $3)";
    let row = tx.optional(tx.query(sql).bind(digests).bind(namespace_id).bind(repository_id)).await?;
    row.map_or(Ok(0), |row| row.number("bytes"))
}

/// Counts the links that this transaction has made in a repository; `digests` is a JSON list. `reserved_bytes` is the
/// reservation of the upload session that ends with this, 0 without one.
pub(crate) async fn links_made(
    tx: &mut Tx,
    repository_id: i64,
    digests: &str,
    reserved_bytes: i64,
) -> Result<(), CatalogError> {
    let usage = hold_of(tx, repository_id).await?;
    let bytes = bytes_only_here(tx, usage.namespace_id, repository_id, digests).await?;
    change(tx, &usage, Change { bytes, uploads: -reserved_bytes, ..Change::default() }).await
}

/// Subtracts the links that this transaction has removed from a repository; `digests` is a JSON list.
pub(crate) async fn links_gone(tx: &mut Tx, repository_id: i64, digests: &str) -> Result<(), CatalogError> {
    let usage = hold_of(tx, repository_id).await?;
    let bytes = -bytes_only_here(tx, usage.namespace_id, repository_id, digests).await?;
    change(tx, &usage, Change { bytes, ..Change::default() }).await
}

/// Subtracts a whole repository that this transaction is about to delete. The transaction must hold it and its upload
/// sessions.
pub(crate) async fn repository_goes(tx: &mut Tx, repository_id: i64) -> Result<(), CatalogError> {
    let usage = hold_of(tx, repository_id).await?;
    let sql = "SELECT (SELECT COUNT(*) FROM tag WHERE repository_id = $1) AS tags,
        (SELECT CAST(COALESCE(SUM(reserved_bytes), 0) AS BIGINT) FROM upload WHERE repository_id = $1) AS uploads,
        (SELECT CAST(COALESCE(SUM(octet_length(m.raw)), 0) AS BIGINT) FROM manifest m
            WHERE m.repository_id = $1 AND NOT EXISTS (
                SELECT 1 FROM manifest o JOIN repository r ON r.id = o.repository_id
                WHERE o.digest = m.digest AND r.namespace_id = $2 AND o.repository_id <> $1)) AS manifests,
        CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) AS bytes FROM blob b
        WHERE b.digest IN (SELECT digest FROM blob_link WHERE repository_id = $1) AND NOT EXISTS (
            SELECT 1 FROM blob_link l JOIN repository r ON r.id = l.repository_id
            WHERE l.digest = b.digest AND r.namespace_id = $2 AND l.repository_id <> $1)";
    let row = tx.optional(tx.query(sql).bind(repository_id).bind(usage.namespace_id)).await?;
    let row = row.ok_or(CatalogError::Busy)?;
    let by = Change {
        bytes: -row.number("bytes")?.saturating_add(row.number("manifests")?),
        uploads: -row.number("uploads")?,
        repositories: -1,
        tags: -row.number("tags")?,
    };
    change(tx, &usage, by).await
}

/// Counts a repository that this transaction has made.
pub(crate) async fn repository_made(tx: &mut Tx, namespace_id: i64) -> Result<(), CatalogError> {
    let usage = hold(tx, namespace_id).await?;
    change(tx, &usage, Change { repositories: 1, ..Change::default() }).await
}

/// Counts the tags that this transaction has made in a repository; `by` is negative for deleted ones.
pub(crate) async fn tags_changed(tx: &mut Tx, repository_id: i64, by: i64) -> Result<(), CatalogError> {
    if by == 0 {
        return Ok(());
    }
    let usage = hold_of(tx, repository_id).await?;
    change(tx, &usage, Change { tags: by, ..Change::default() }).await
}

/// Counts a manifest that this transaction has made, and its tags; the numbers are negative for deleted ones. A
/// manifest that another repository of the namespace holds counts there.
pub(crate) async fn manifest_changed(
    tx: &mut Tx,
    repository_id: i64,
    digest: &Digest,
    bytes: i64,
    tags: i64,
) -> Result<(), CatalogError> {
    if bytes == 0 {
        return tags_changed(tx, repository_id, tags).await;
    }
    let usage = hold_of(tx, repository_id).await?;
    let sql = "SELECT m.repository_id FROM manifest m JOIN repository r ON r.id = m.repository_id
        WHERE m.digest = $1 AND r.namespace_id = $2 AND m.repository_id <> $3 LIMIT 1";
    let elsewhere = tx.query(sql).bind(digest.as_str()).bind(usage.namespace_id).bind(repository_id);
    let bytes = if tx.optional(elsewhere).await?.is_some() { 0 } else { bytes };
    change(tx, &usage, Change { bytes, tags, ..Change::default() }).await
}

/// Gives back the reservation of an upload session that this transaction has ended.
pub(crate) async fn upload_ended(tx: &mut Tx, repository_id: i64, reserved_bytes: i64) -> Result<(), CatalogError> {
    if reserved_bytes == 0 {
        return Ok(());
    }
    let sql = "UPDATE namespace SET upload_bytes = upload_bytes - $2
        WHERE id = (SELECT namespace_id FROM repository WHERE id = $1)";
    tx.execute(tx.query(sql).bind(repository_id).bind(reserved_bytes)).await.map(|_| ())
}
