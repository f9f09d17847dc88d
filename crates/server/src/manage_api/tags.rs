//! Tags: contract 5.5.

use transship_oci::RepositoryName;
use transship_registry::{ListTags, Manifests, TagList, TagOrder, TagPage, TagView};
use transship_swr::tags::{
    CreateRepoTagRequestBody, ListRepositoryTagResponse, Manifest, ShowReposTagResp, ShowReposTagRespV3,
};
use transship_swr::{Page, PathValues, paging};

use super::error::ManageError;
use super::{Answer, Call, answer};
use crate::http::pieces;

/// The columns of tag lists; `tag` is v3's (contract 1.3).
const ORDER_COLUMNS: [(&str, TagOrder); 4] = [
    ("updated_at", TagOrder::UpdatedAt),
    ("updated_time", TagOrder::UpdatedAt),
    ("tag", TagOrder::Name),
    ("name", TagOrder::Name),
];

fn view(account_id: &str, tag: TagView) -> ShowReposTagRespV3 {
    ShowReposTagRespV3 {
        id: tag.id,
        repo_id: tag.repository_id,
        tag: tag.tag,
        image_id: tag.image_id,
        manifest: Manifest(tag.manifest.unwrap_or_default()),
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

/// The account that owns a repository; a public repository may belong to another account.
async fn owner(call: &Call, name: &RepositoryName) -> Result<String, ManageError> {
    let access = call.registry.access().effective_access(name, Some(&call.principal)).await?;
    Ok(access.repository.map_or_else(|| call.principal.account_id.clone(), |repository| repository.account_id))
}

/// `GET /v2/manage/…/tags`: 200, a bare array, the key is `Tag`, contract 5.5. Manifests beyond the budget of a page
/// are empty: clients count their own offset, so a page must have all its tags.
pub(super) async fn list_repository_tags(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
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
    let records: Vec<ShowReposTagResp> = found.tags.into_iter().map(|tag| view(&owner, tag).into()).collect();
    Ok(answer::page(page, &records, found.total, found.room))
}

/// `GET /v3/manage/…/tags`: 200, paged by marker, the key is `tag`, manifests only on request, contract 5.5. A page
/// with manifests ends where its budget does.
pub(super) async fn list_repository_tag(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let query = call.query.effective()?;
    let limit = paging::limit(&query)?;
    let marker = query.get("marker").filter(|marker| *marker != "-1");
    let with_manifest = query.flag("with_manifest")?.unwrap_or(false);
    let list = ListTags {
        name_contains: query.get("tag").map(str::to_owned),
        order: paging::order(&query, &ORDER_COLUMNS, (TagOrder::Name, false))?,
        // One entry more than the page shows whether another page follows.
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
    let tags = tags.into_iter().map(|tag| view(&owner, tag)).collect();
    Ok(pieces::json(&ListRepositoryTagResponse { tags, has_more, next_marker }, room))
}

/// `GET …/tags/{tag}`: 200, contract 5.5.
pub(super) async fn show_repo_tag(call: &Call, at: &PathValues) -> Answer {
    let (name, tag) = (at.repository()?, at.tag()?);
    let (shown, room) = call.registry.content().show_tag(&call.principal, &name, &tag).await?;
    Ok(pieces::json(&view(&owner(call, &name).await?, shown), room))
}

/// `POST …/tags`: 201; 404 without the source, 409 if the destination exists and `override` is not set, contract 5.5.
pub(super) async fn create_repo_tag(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let CreateRepoTagRequestBody { source_tag, destination_tag, override_existing } =
        CreateRepoTagRequestBody::parse(&call.body)?;
    call.registry
        .content()
        .create_tag(&call.principal, &name, &source_tag, &destination_tag, override_existing)
        .await?;
    Ok(answer::created())
}

/// `DELETE …/tags/{tag}`: 204; other tags of the digest stay, contract 5.5.
pub(super) async fn delete_repo_tag(call: &Call, at: &PathValues) -> Answer {
    let (name, tag) = (at.repository()?, at.tag()?);
    call.registry.content().delete_tag(&call.principal, &name, &tag).await?;
    Ok(answer::gone())
}
