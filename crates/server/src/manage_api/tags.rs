//! Tags: contract 5.5.

use axum::Json;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use transship_oci::{RepositoryName, Tag};
use transship_registry::{ListTags, TagOrder, TagPage, TagView};

use super::fields::Fields;
use super::paging::{self, Page};
use super::route::RepositoryAt;
use super::{Answer, Call, answer};
use crate::http::manage_error::{ManageCode, ManageError};

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
fn tag_view(account_id: &str, key: &str, tag: TagView, with_manifest: bool) -> Value {
    let mut view = json!({
        "id": tag.id,
        "repo_id": tag.repository_id,
        "image_id": tag.image_id,
        "manifest": if with_manifest { tag.manifest } else { String::new() },
        "digest": tag.digest,
        "schema": 2,
        "path": tag.path,
        "internal_path": tag.path,
        "size": tag.size_bytes,
        "is_trusted": false,
        "created": answer::time(tag.created_at_ms),
        "updated": answer::time(tag.updated_at_ms),
        "deleted": null,
        "domain_id": account_id,
        "scanned": false,
        "tag_type": i32::from(tag.is_index),
    });
    view[key] = json!(tag.tag);
    view
}

/// The account that a repository belongs to: a public one may be another's.
async fn owner(call: &Call, name: &RepositoryName) -> Result<String, ManageError> {
    let access = call.registry.effective_access(name, Some(&call.principal)).await?;
    Ok(access.repository.map_or_else(|| call.principal.account_id.clone(), |repository| repository.account_id))
}

/// `GET /v2/manage/…/tags`: 200, a bare array, the key is `Tag`, contract 5.5.
pub(super) async fn list_repository_tags(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let query = call.query.effective()?;
    let page = Page::of(&query)?;
    let list = ListTags {
        name_contains: query.get("tag").map(str::to_owned),
        order: paging::order(&query, &ORDER_COLUMNS, (TagOrder::UpdatedAt, true))?,
        limit: page.limit,
        page: TagPage::Offset(page.offset),
    };
    let (found, total) = call.registry.list_tags(&call.principal, &name, list).await?;
    let owner = owner(call, &name).await?;
    let views: Vec<Value> = found.into_iter().map(|tag| tag_view(&owner, "Tag", tag, true)).collect();
    Ok(page.answer(&views, total))
}

/// `GET /v3/manage/…/tags`: 200, by marker, the key is `tag`, the manifest only when asked for, contract 5.5.
pub(super) async fn list_repository_tag(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let query = call.query.effective()?;
    let limit = paging::limit(&query)?;
    let marker = query.get("marker").filter(|marker| *marker != "-1");
    let list = ListTags {
        name_contains: query.get("tag").map(str::to_owned),
        order: paging::order(&query, &ORDER_COLUMNS, (TagOrder::Name, false))?,
        // One more than the page tells whether another follows.
        limit: limit + 1,
        page: marker.map_or(TagPage::Offset(0), |tag| TagPage::After(tag.to_owned())),
    };
    let with_manifest = query.flag("with_manifest")?.unwrap_or(false);
    let (mut found, _) = call.registry.list_tags(&call.principal, &name, list).await?;
    let more = i64::try_from(found.len()).unwrap_or(i64::MAX) > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|tag| tag.tag.clone());
    let owner = owner(call, &name).await?;
    let tags: Vec<Value> = found.into_iter().map(|tag| tag_view(&owner, "tag", tag, with_manifest)).collect();
    let mut body = json!({ "tags": tags, "has_more": more });
    if let Some(next) = next {
        body["nextMarker"] = json!(next);
    }
    Ok(Json(body).into_response())
}

/// `GET …/tags/{tag}`: 200, contract 5.5.
pub(super) async fn show_repo_tag(call: &Call, at: &RepositoryAt, tag: &str) -> Answer {
    let (name, tag) = (at.name()?, parse_tag(tag)?);
    let shown = call.registry.show_tag(&call.principal, &name, &tag).await?;
    Ok(Json(tag_view(&owner(call, &name).await?, "tag", shown, true)).into_response())
}

/// `POST …/tags`: 201; 404 without the source, 409 when the destination is there and `override` is not, contract 5.5.
pub(super) async fn create_repo_tag(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let fields = Fields::parse(&call.body)?;
    let source = parse_tag(fields.text("source_tag")?)?;
    let destination = parse_tag(fields.text("destination_tag")?)?;
    let override_existing = fields.optional_bool("override")?.unwrap_or(false);
    call.registry.create_tag(&call.principal, &name, &source, &destination, override_existing).await?;
    Ok(answer::created())
}

/// `DELETE …/tags/{tag}`: 204; other tags of the digest stay, contract 5.5.
pub(super) async fn delete_repo_tag(call: &Call, at: &RepositoryAt, tag: &str) -> Answer {
    let (name, tag) = (at.name()?, parse_tag(tag)?);
    call.registry.delete_tag(&call.principal, &name, &tag).await?;
    Ok(answer::gone())
}
