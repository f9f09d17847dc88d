//! Tags: contract 5.5.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use transship_oci::{RepositoryName, Tag};
use transship_registry::{ListTags, Manifests, TagList, TagOrder, TagPage, TagView};

use super::fields::Fields;
use super::paging::{self, Page};
use super::route::RepositoryAt;
use super::{Answer, Call, answer};
use crate::http::manage_error::{ManageCode, ManageError};
use crate::http::pieces;

/// The columns of tag lists; `tag` is v3's (contract 1.3).
const ORDER_COLUMNS: [(&str, TagOrder); 4] = [
    ("updated_at", TagOrder::UpdatedAt),
    ("updated_time", TagOrder::UpdatedAt),
    ("tag", TagOrder::Name),
    ("name", TagOrder::Name),
];

/// A tag that keeps to the grammar.
pub(super) fn parse_tag(text: &str) -> Result<Tag, ManageError> {
    text.parse().map_err(|error: transship_oci::GrammarError| ManageError::new(ManageCode::BadTag, error.to_string()))
}

/// Models `ShowReposTagResp` and `ShowReposTagRespV3`, which differ in the spelling of one key.
#[derive(Debug, Serialize)]
struct TagRecord {
    id: i64,
    repo_id: i64,
    /// The key of v2.
    #[serde(rename = "Tag", skip_serializing_if = "Option::is_none")]
    capital_tag: Option<String>,
    /// The key of v3.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    image_id: String,
    #[serde(serialize_with = "text_or_nothing")]
    manifest: Option<Arc<str>>,
    digest: String,
    schema: i32,
    path: String,
    internal_path: String,
    size: u64,
    is_trusted: bool,
    created: String,
    updated: String,
    deleted: (),
    domain_id: String,
    scanned: bool,
    tag_type: i32,
}

/// How the name of a tag is spelled.
#[derive(Clone, Copy)]
enum Key {
    V2,
    V3,
}

impl TagRecord {
    fn new(account_id: &str, key: Key, tag: TagView) -> Self {
        let (capital_tag, name) = match key {
            Key::V2 => (Some(tag.tag), None),
            Key::V3 => (None, Some(tag.tag)),
        };
        Self {
            id: tag.id,
            repo_id: tag.repository_id,
            capital_tag,
            tag: name,
            image_id: tag.image_id,
            manifest: tag.manifest,
            digest: tag.digest,
            schema: 2,
            internal_path: tag.path.clone(),
            path: tag.path,
            size: tag.size_bytes,
            is_trusted: false,
            created: answer::time(tag.created_at_ms),
            updated: answer::time(tag.updated_at_ms),
            deleted: (),
            domain_id: account_id.to_owned(),
            scanned: false,
            tag_type: i32::from(tag.is_index),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn text_or_nothing<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_deref().unwrap_or_default())
}

/// A page of v3.
#[derive(Debug, Serialize)]
struct TagRecords {
    tags: Vec<TagRecord>,
    has_more: bool,
    #[serde(rename = "nextMarker", skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// The account that a repository belongs to: a public one may be another's.
async fn owner(call: &Call, name: &RepositoryName) -> Result<String, ManageError> {
    let access = call.registry.access().effective_access(name, Some(&call.principal)).await?;
    Ok(access.repository.map_or_else(|| call.principal.account_id.clone(), |repository| repository.account_id))
}

/// `GET /v2/manage/…/tags`: 200, a bare array, the key is `Tag`, contract 5.5. Manifests beyond the budget of a page are
/// empty: clients go on by their own offset, so a page has all its tags.
pub(super) async fn list_repository_tags(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let query = call.query.effective()?;
    let page = Page::of(&query)?;
    let list = ListTags {
        name_contains: query.get("tag").map(str::to_owned),
        order: paging::order(&query, &ORDER_COLUMNS, (TagOrder::UpdatedAt, true))?,
        limit: page.limit,
        page: TagPage::Offset(page.offset),
        manifests: Manifests::AsFarAsTheyFit,
    };
    let found = call.registry.content().list_tags(&call.principal, &name, list).await?;
    let owner = owner(call, &name).await?;
    let records: Vec<TagRecord> = found.tags.into_iter().map(|tag| TagRecord::new(&owner, Key::V2, tag)).collect();
    Ok(page.answer_large(&records, found.total, found.room))
}

/// `GET /v3/manage/…/tags`: 200, by marker, the key is `tag`, the manifest only when asked for, contract 5.5. A page with
/// manifests ends where its budget does.
pub(super) async fn list_repository_tag(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let query = call.query.effective()?;
    let limit = paging::limit(&query)?;
    let marker = query.get("marker").filter(|marker| *marker != "-1");
    let with_manifest = query.flag("with_manifest")?.unwrap_or(false);
    let list = ListTags {
        name_contains: query.get("tag").map(str::to_owned),
        order: paging::order(&query, &ORDER_COLUMNS, (TagOrder::Name, false))?,
        // One more than the page tells whether another follows.
        limit: limit + 1,
        page: marker.map_or(TagPage::Offset(0), |tag| TagPage::After(tag.to_owned())),
        manifests: if with_manifest { Manifests::EndThePage } else { Manifests::No },
    };
    let TagList { mut tags, ended_early, room, .. } =
        call.registry.content().list_tags(&call.principal, &name, list).await?;
    let has_more = ended_early || i64::try_from(tags.len()).unwrap_or(i64::MAX) > limit;
    tags.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_marker = tags.last().filter(|_| has_more).map(|tag| tag.tag.clone());
    let owner = owner(call, &name).await?;
    let tags = tags.into_iter().map(|tag| TagRecord::new(&owner, Key::V3, tag)).collect();
    Ok(pieces::json(&TagRecords { tags, has_more, next_marker }, room))
}

/// `GET …/tags/{tag}`: 200, contract 5.5.
pub(super) async fn show_repo_tag(call: &Call, at: &RepositoryAt, tag: &str) -> Answer {
    let (name, tag) = (at.name()?, parse_tag(tag)?);
    let (shown, room) = call.registry.content().show_tag(&call.principal, &name, &tag).await?;
    Ok(pieces::json(&TagRecord::new(&owner(call, &name).await?, Key::V3, shown), room))
}

/// `POST …/tags`: 201; 404 without the source, 409 when the destination is there and `override` is not, contract 5.5.
pub(super) async fn create_repo_tag(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let fields = Fields::parse(&call.body)?;
    let source = parse_tag(fields.text("source_tag")?)?;
    let destination = parse_tag(fields.text("destination_tag")?)?;
    let override_existing = fields.optional_bool("override")?.unwrap_or(false);
    drop(fields);
    call.registry.content().create_tag(&call.principal, &name, &source, &destination, override_existing).await?;
    Ok(answer::created())
}

/// `DELETE …/tags/{tag}`: 204; other tags of the digest stay, contract 5.5.
pub(super) async fn delete_repo_tag(call: &Call, at: &RepositoryAt, tag: &str) -> Answer {
    let (name, tag) = (at.name()?, parse_tag(tag)?);
    call.registry.content().delete_tag(&call.principal, &name, &tag).await?;
    Ok(answer::gone())
}
