//! Tags: names that point at manifests of their repository, and may move.

use sqlx::any::AnyRow;
use transship_oci::{Digest, Tag};

use crate::immutability::{moved_away, touch_judging};
use crate::jobs::cancel_jobs_of_tags;
use crate::quotas::tags_changed;
use crate::repositories::direction;
use crate::retry::repeated;
use crate::row::{Columns as _, limit_parameter, list_parameter, place};
use crate::tx::Tx;
use crate::{Catalog, CatalogError, PutManifestError};

pub(crate) const PAGE: &str = "SELECT name FROM tag WHERE repository_id = $1 AND name > $2 ORDER BY name LIMIT $3";

/// When a tag may move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TagCondition {
    /// Always.
    #[default]
    Always,
    /// Only if it does not exist, or points there already.
    IfAbsent,
    /// Only if it points at this digest.
    IfDigest(Digest),
}

/// The order of tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagOrder {
    /// Name, in byte order.
    #[default]
    Name,
    /// Last move.
    UpdatedAt,
}

/// Which tags to list.
#[derive(Clone, Debug)]
pub struct ListTagDetails {
    /// The repository.
    pub repository_id: i64,
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only names that contain this.
    pub name_contains: Option<String>,
    /// The order.
    pub order: TagOrder,
    /// Whether the order is reversed.
    pub descending: bool,
    /// Page size.
    pub limit: i64,
    /// How many records to skip.
    pub offset: i64,
    /// Only those that follow this tag in the chosen order. In the order of names the tag itself may be gone; in the
    /// order of moves nothing follows a tag that is gone.
    pub after: Option<String>,
}

/// A tag with facts about its manifest, but without the manifest's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagDetail {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: Tag,
    /// The digest that it points at.
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// How many bytes the manifest has.
    pub manifest_bytes: u64,
    /// The manifest's config; `None` for an index.
    pub config_digest: Option<Digest>,
    /// Sum of the sizes of the manifest's layers.
    pub layers_size_bytes: u64,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it last moved, or was pushed again.
    pub updated_at_ms: i64,
}

impl Catalog {
    /// Returns the digest that a tag points at now.
    pub async fn resolve_tag(&self, repository_id: i64, tag: &Tag) -> Result<Option<Digest>, CatalogError> {
        let sql = "SELECT digest FROM tag WHERE repository_id = $1 AND name = $2";
        let row = self.read_optional(|| self.query(sql).bind(repository_id).bind(tag.as_str())).await?;
        row.map(|row| row.parsed("digest")).transpose()
    }

    /// Returns the digests that the given tags point at now; missing tags are left out.
    pub async fn resolve_tags(&self, repository_id: i64, tags: &[Tag]) -> Result<Vec<(Tag, Digest)>, CatalogError> {
        let sql = "SELECT name, digest FROM tag WHERE repository_id = $1 AND name IN (SELECT value FROM {list:$2})";
        let list = list_parameter(tags);
        let rows = self.read_all(|| self.query(sql).bind(repository_id).bind(&list)).await?;
        rows.iter().map(|row| Ok((row.parsed("name")?, row.parsed("digest")?))).collect()
    }

    /// Points a tag at a manifest of the repository, and returns where it pointed before.
    ///
    /// # Errors
    /// [`PutManifestError::ChildUnknown`] if the manifest is missing, [`PutManifestError::ConditionFailed`],
    /// [`CatalogError::Immutable`].
    pub async fn put_tag(
        &self,
        repository_id: i64,
        tag: &Tag,
        digest: &Digest,
        condition: TagCondition,
    ) -> Result<Option<Digest>, PutManifestError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let sql = "UPDATE manifest SET pushed_at = {now} WHERE repository_id = $1 AND digest = $2";
            if tx.execute(tx.query(sql).bind(repository_id).bind(digest.as_str())).await? == 0 {
                return Err(PutManifestError::ChildUnknown(digest.clone()));
            }
            let old = move_tag(&mut tx, repository_id, tag, digest, &condition).await?;
            let moved = [(tag.clone(), old.clone().filter(|old| old != digest))];
            touch_judging(&mut tx, repository_id, moved_away(&moved)).await?;
            tags_changed(&mut tx, repository_id, i64::from(old.is_none())).await?;
            tx.commit().await?;
            Ok(old)
        })
    }

    /// Deletes a tag and cancels the jobs that copy it; its manifest stays. Returns `false` if there was none.
    ///
    /// # Errors
    /// [`CatalogError::Immutable`].
    pub async fn delete_tag(&self, repository_id: i64, tag: &Tag) -> Result<bool, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM tag WHERE repository_id = $1 AND name = $2";
            if tx.execute(tx.query(sql).bind(repository_id).bind(tag.as_str())).await? == 0 {
                return Ok(false);
            }
            tag_went(&mut tx, repository_id, tag).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }

    /// Undoes a move of a tag to `digest`: points it at `before` again, or deletes it if that manifest is not there.
    /// Returns `false` and changes nothing if the tag no longer points at `digest`.
    ///
    /// # Errors
    /// [`CatalogError::Immutable`].
    pub async fn withdraw_tag(
        &self,
        repository_id: i64,
        tag: &Tag,
        digest: &Digest,
        before: Option<&Digest>,
    ) -> Result<bool, CatalogError> {
        let touch = "UPDATE manifest SET pushed_at = {now} WHERE repository_id = $1 AND digest = $2";
        let back =
            "UPDATE tag SET digest = $4, updated_at = {now} WHERE repository_id = $1 AND name = $2 AND digest = $3";
        let delete = "DELETE FROM tag WHERE repository_id = $1 AND name = $2 AND digest = $3";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            // Lock the manifest first, as every transaction that moves a tag does.
            let mut there = None;
            if let Some(before) = before
                && tx.execute(tx.query(touch).bind(repository_id).bind(before.as_str())).await? > 0
            {
                there = Some(before);
            }
            let statement = tx.query(if there.is_some() { back } else { delete });
            let mut statement = statement.bind(repository_id).bind(tag.as_str()).bind(digest.as_str());
            if let Some(before) = there {
                statement = statement.bind(before.as_str());
            }
            if tx.execute(statement).await? == 0 {
                return Ok(false);
            }
            if there.is_some() {
                touch_judging(&mut tx, repository_id, [tag.as_str()]).await?;
            } else {
                tag_went(&mut tx, repository_id, tag).await?;
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }

    /// Returns one page of tags in byte order, after a name that need not exist.
    pub async fn list_tags(
        &self,
        repository_id: i64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Tag>, CatalogError> {
        // Every name is greater than the empty text.
        let after = place(after.unwrap_or_default());
        let rows =
            self.read_all(|| self.query(PAGE).bind(repository_id).bind(after).bind(limit_parameter(limit))).await?;
        rows.iter().map(|row| row.parsed("name")).collect()
    }

    /// Returns one page of tags, and their total number, which ignores `after`.
    pub async fn tag_details(&self, list: ListTagDetails) -> Result<(Vec<TagDetail>, i64), CatalogError> {
        let filter =
            "t.repository_id = $1 AND ($2 IS NULL OR t.name = $2) AND ($3 IS NULL OR {position}(t.name, $3) > 0)";
        let direction = direction(list.descending);
        let follows = if list.descending { "<" } else { ">" };
        let (order, after) = match list.order {
            TagOrder::Name => (format!("t.name{direction}"), format!("t.name {follows} $6")),
            TagOrder::UpdatedAt => (
                format!("t.updated_at{direction}, t.name{direction}"),
                format!(
                    "(t.updated_at, t.name) {follows} (SELECT o.updated_at, o.name FROM tag o
                    WHERE o.repository_id = $1 AND o.name = $6)"
                ),
            ),
        };
        let page = format!(
            "SELECT t.id, t.name, t.digest, m.media_type, octet_length(m.raw) AS manifest_bytes, m.config_digest,
                m.layers_size_bytes, t.created_at, t.updated_at
            FROM tag t JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest
            WHERE {filter} AND ($6 IS NULL OR {after}) ORDER BY {order} LIMIT $4 OFFSET $5"
        );
        let count = format!("SELECT COUNT(*) AS total FROM tag t WHERE {filter}");
        let filtered = |text: &str| {
            let query = self.dialect().query_from_pieces(text);
            query.bind(list.repository_id).bind(list.name.as_deref()).bind(list.name_contains.as_deref())
        };
        let rows = self
            .read_all(|| filtered(&page).bind(list.limit.max(0)).bind(list.offset.max(0)).bind(list.after.as_deref()))
            .await?;
        let total = self.read_optional(|| filtered(&count)).await?;
        let total = total.map_or(Ok(0), |row| row.number("total"))?;
        Ok((rows.iter().map(detail).collect::<Result<_, _>>()?, total))
    }
}

/// Cancels the jobs of a deleted tag, fails if the tag is immutable, and counts the deletion.
async fn tag_went(tx: &mut Tx, repository_id: i64, tag: &Tag) -> Result<(), CatalogError> {
    cancel_jobs_of_tags(tx, repository_id, &list_parameter([tag])).await?;
    touch_judging(tx, repository_id, [tag.as_str()]).await?;
    tags_changed(tx, repository_id, -1).await
}

/// Points a tag at a manifest, and returns where it pointed before. This transaction must have inserted or updated the
/// manifest's row.
pub(crate) async fn move_tag(
    tx: &mut Tx,
    repository_id: i64,
    tag: &Tag,
    digest: &Digest,
    condition: &TagCondition,
) -> Result<Option<Digest>, PutManifestError> {
    let read = "SELECT digest FROM tag WHERE repository_id = $1 AND name = $2{for_touch}";
    let row = tx.optional(tx.query(read).bind(repository_id).bind(tag.as_str())).await?;
    let current: Option<Digest> = row.map(|row| row.parsed("digest")).transpose()?;
    let may_move = match condition {
        TagCondition::Always => true,
        TagCondition::IfAbsent => current.as_ref().is_none_or(|current| current == digest),
        TagCondition::IfDigest(expected) => current.as_ref() == Some(expected),
    };
    if !may_move {
        return Err(PutManifestError::ConditionFailed { tag: tag.clone(), current });
    }
    let changed = if current.is_some() {
        let sql = "UPDATE tag SET digest = $3, updated_at = {now} WHERE repository_id = $1 AND name = $2";
        tx.execute(tx.query(sql).bind(repository_id).bind(tag.as_str()).bind(digest.as_str())).await?
    } else {
        let sql = "INSERT INTO tag (repository_id, name, digest, created_at, updated_at)
            VALUES ($1, $2, $3, {now}, {now}) ON CONFLICT (repository_id, name) DO NOTHING";
        tx.execute(tx.query(sql).bind(repository_id).bind(tag.as_str()).bind(digest.as_str())).await?
    };
    // Another transaction made the tag in between: check the condition again with what it points at now.
    if changed == 0 { Err(CatalogError::Busy.into()) } else { Ok(current) }
}

fn detail(row: &AnyRow) -> Result<TagDetail, CatalogError> {
    Ok(TagDetail {
        id: row.number("id")?,
        name: row.parsed("name")?,
        digest: row.parsed("digest")?,
        media_type: row.text("media_type")?,
        manifest_bytes: row.size("manifest_bytes")?,
        config_digest: row.optional_parsed("config_digest")?,
        layers_size_bytes: row.size("layers_size_bytes")?,
        created_at_ms: row.number("created_at")?,
        updated_at_ms: row.number("updated_at")?,
    })
}
