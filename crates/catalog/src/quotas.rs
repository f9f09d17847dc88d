//! Quotas: what a namespace uses, what it may use, and the one place that counts both.
//!
//! A counter is changed in the transaction that changes what is counted, as the last thing it does, so that all changes
//! of one namespace come one after another there: two pushes at once never go over a limit that each alone would keep.
//! What is there already counts once and is never refused again.
//!
//! Bytes are those of blobs and of manifests, and those that upload sessions have brought so far
//! ([`crate::reservations`]), which have a counter of their own until they are a blob or gone.

use sqlx::any::AnyRow;
use transship_oci::{Digest, NamespaceName};

use crate::row::{Columns as _, size_column};
use crate::tx::Tx;
use crate::{Catalog, CatalogError, QuotaExceeded, Quotas, Resource};

/// What was said about one limit of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The region's default.
    Default,
    /// None, whatever the default is.
    Unlimited,
    /// This.
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

/// One resource of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What.
    pub resource: Resource,
    /// How much the counter says is used.
    pub used: i64,
    /// What was said about the limit.
    pub said: Limit,
    /// The limit that holds; nothing is none.
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

/// A counter that does not say what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCounter {
    /// What it counts.
    pub resource: Resource,
    /// What it says.
    pub says: i64,
    /// What is there.
    pub is: i64,
}

macro_rules! usage_columns {
    () => {
        "id, name, used_bytes, upload_bytes, used_repositories, used_tags, limit_bytes, limit_repositories, limit_tags"
    };
}
pub(crate) use usage_columns;

/// What the counters of the namespace `n` say and should say. A manifest that several repositories hold counts where it is
/// first.
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
    /// Whether anything limits the bytes of a namespace.
    pub async fn has_byte_limit(&self, namespace: &NamespaceName) -> Result<bool, CatalogError> {
        let row = self
            .read_optional(|| self.query("SELECT limit_bytes FROM namespace WHERE name = $1").bind(namespace.as_str()));
        let Some(row) = row.await? else { return Ok(false) };
        Ok(Limit::from_column(row.optional_number("limit_bytes")?).or(self.default_quotas().bytes).is_some())
    }

    /// Refuses an upload of `size_bytes`, of which `reserved_bytes` count already, when the namespace has no room for the
    /// rest. Content that it links already needs none; without a digest that cannot be known, and the length alone decides.
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

    /// One page of namespaces with what they use, by number, behind `after`.
    pub async fn namespace_usages(&self, after: i64, limit: i64) -> Result<Vec<NamespaceUsage>, CatalogError> {
        let sql = concat!("SELECT ", usage_columns!(), " FROM namespace WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = self.read_all(|| self.query(sql).bind(after).bind(limit)).await?;
        rows.iter().map(|row| self.usage(row)).collect()
    }

    /// Says what a namespace may use; what is left out stays as it was. Returns what holds now; nothing without the namespace.
    /// A limit below what is used is taken: nothing is deleted, and nothing new fits in.
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

    /// Counts again what a namespace has, and tells which counters are wrong.
    pub async fn wrong_counters(&self, namespace_id: i64) -> Result<Vec<WrongCounter>, CatalogError> {
        // One statement, so that counters and rows are of one moment.
        let sql = concat!("SELECT ", counted!(), " FROM namespace n WHERE n.id = $1");
        let row = self.read_optional(|| self.query(sql).bind(namespace_id)).await?;
        let Some(row) = row else { return Ok(Vec::new()) };
        wrong(&row)
    }

    /// Makes the counters of a namespace right, and tells which were wrong.
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

/// Why so much more does not fit in, if it does not. What asks for nothing more is never refused.
fn refused(usage: &NamespaceUsage, resource: Resource, asked: i64) -> Option<QuotaExceeded> {
    if asked > 0 { exceeded(usage, resource, asked) } else { None }
}

/// Whether a namespace that uses so much more is beyond its limit.
pub(crate) fn exceeded(usage: &NamespaceUsage, resource: Resource, asked: i64) -> Option<QuotaExceeded> {
    let one = usage.usage.iter().find(|one| one.resource == resource)?;
    let limit = one.limit.filter(|limit| one.used.saturating_add(asked) > *limit)?;
    Some(QuotaExceeded { resource, namespace: usage.namespace.clone(), limit, used: one.used, asked })
}

/// Holds a namespace until the transaction ends; nobody else changes its counters meanwhile.
async fn hold(tx: &mut Tx, namespace_id: i64) -> Result<NamespaceUsage, CatalogError> {
    let sql = concat!("SELECT ", usage_columns!(), " FROM namespace WHERE id = $1{for_touch}");
    let row = tx.optional(tx.query(sql).bind(namespace_id)).await?;
    usage(&row.ok_or_else(|| CatalogError::not_found(format!("namespace {namespace_id}")))?, &tx.default_quotas())
}

/// The same, of a repository, which exists.
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
    /// Of upload sessions.
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
        // Bytes that were reserved have been let in already.
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

/// Bytes of those of some blobs that no repository of the namespace links, but perhaps this one.
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

/// Counts links that this transaction has made, all of one repository; a JSON list of their digests. `reserved_bytes` is
/// what the upload session that ends with this counted until now.
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

/// Counts links that this transaction has taken away, all of one repository; a JSON list of their digests.
pub(crate) async fn links_gone(tx: &mut Tx, repository_id: i64, digests: &str) -> Result<(), CatalogError> {
    let usage = hold_of(tx, repository_id).await?;
    let bytes = -bytes_only_here(tx, usage.namespace_id, repository_id, digests).await?;
    change(tx, &usage, Change { bytes, ..Change::default() }).await
}

/// Counts a whole repository that this transaction is about to take away, and holds with its upload sessions.
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

/// Counts tags of a repository that this transaction has made, or taken away when negative.
pub(crate) async fn tags_changed(tx: &mut Tx, repository_id: i64, by: i64) -> Result<(), CatalogError> {
    if by == 0 {
        return Ok(());
    }
    let usage = hold_of(tx, repository_id).await?;
    change(tx, &usage, Change { tags: by, ..Change::default() }).await
}

/// Counts a manifest that this transaction has made, or with negative numbers taken away, and tags that went with it. One
/// that another repository of the namespace holds counts there.
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

/// Gives back what an upload session that this transaction has ended counted.
pub(crate) async fn upload_ended(tx: &mut Tx, repository_id: i64, reserved_bytes: i64) -> Result<(), CatalogError> {
    if reserved_bytes == 0 {
        return Ok(());
    }
    let sql = "UPDATE namespace SET upload_bytes = upload_bytes - $2
        WHERE id = (SELECT namespace_id FROM repository WHERE id = $1)";
    tx.execute(tx.query(sql).bind(repository_id).bind(reserved_bytes)).await.map(|_| ())
}
