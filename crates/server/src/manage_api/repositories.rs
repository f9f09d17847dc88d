//! Repositories: contract 5.3.

use axum::Json;
use axum::response::IntoResponse as _;
use serde::Serialize;
use serde_json::json;
use transship_registry::{
    ListRepositories, Overflow, RepoOrder, RepositoryAttributes, RepositoryList, RepositoryPage, RepositorySummary,
    Settings,
};

use super::fields::Fields;
use super::paging::{self, Page};
use super::query::Query;
use super::route::{RepositoryAt, parse_namespace};
use super::{Answer, Call, answer};
use crate::http::manage_error::ManageError;
use crate::http::pieces;

/// The columns of the contract, with the SDKs' `updated_at` as another word for `updated_time`.
const ORDER_COLUMNS: [(&str, RepoOrder); 4] = [
    ("name", RepoOrder::Name),
    ("updated_time", RepoOrder::UpdatedAt),
    ("updated_at", RepoOrder::UpdatedAt),
    ("tag_count", RepoOrder::TagCount),
];

/// Model `ShowReposResp`.
#[derive(Debug, Serialize)]
pub(super) struct RepositoryView {
    name: String,
    category: String,
    description: String,
    size: u64,
    is_public: bool,
    num_images: i64,
    num_download: i64,
    created_at: String,
    updated_at: String,
    logo: &'static str,
    url: &'static str,
    path: String,
    internal_path: String,
    domain_name: String,
    namespace: String,
    tags: Vec<String>,
    status: bool,
    total_range: i64,
}

/// Model `ShowReposRespV3`: an id and another word for the organization, no tags and no paths.
#[derive(Debug, Serialize)]
pub(super) struct RepositoryViewV3 {
    id: i64,
    namespace_name: String,
    name: String,
    category: String,
    description: String,
    size: u64,
    is_public: bool,
    num_images: i64,
    num_download: i64,
    created_at: String,
    updated_at: String,
    domain_name: String,
    status: bool,
}

/// A page of v3.
#[derive(Debug, Serialize)]
struct RepositoryViewsV3 {
    repos: Vec<RepositoryViewV3>,
    #[serde(rename = "nextMarker", skip_serializing_if = "Option::is_none")]
    next_marker: Option<i64>,
}

impl RepositoryView {
    pub(super) fn new(settings: &Settings, summary: RepositorySummary, total: i64) -> Self {
        let repository = summary.repository;
        let path = pull_path(settings, repository.full_name().as_ref());
        Self {
            name: repository.name.to_string(),
            category: repository.category,
            description: repository.description,
            size: summary.size_bytes,
            is_public: repository.is_public,
            num_images: summary.tag_count,
            num_download: 0,
            created_at: answer::time(repository.created_at_ms),
            updated_at: answer::time(repository.updated_at_ms),
            logo: "",
            url: "",
            internal_path: path.clone(),
            path,
            domain_name: summary.account_name,
            namespace: repository.namespace.to_string(),
            tags: summary.tags,
            status: false,
            total_range: total,
        }
    }
}

impl From<RepositorySummary> for RepositoryViewV3 {
    fn from(summary: RepositorySummary) -> Self {
        let repository = summary.repository;
        Self {
            id: repository.id,
            namespace_name: repository.namespace.to_string(),
            name: repository.name.to_string(),
            category: repository.category,
            description: repository.description,
            size: summary.size_bytes,
            is_public: repository.is_public,
            num_images: summary.tag_count,
            num_download: 0,
            created_at: answer::time(repository.created_at_ms),
            updated_at: answer::time(repository.updated_at_ms),
            domain_name: summary.account_name,
            status: false,
        }
    }
}

fn pull_path(settings: &Settings, name: &str) -> String {
    format!("{}/{name}", settings.registry_host)
}

/// `POST …/namespaces/{namespace}/repos`: 200, contract 5.3.
pub(super) async fn create_repo(call: &Call, namespace: &str) -> Answer {
    parse_namespace(namespace)?;
    let fields = Fields::parse(&call.body)?;
    let repository = fields.text("repository")?.replace('$', "/");
    let at = RepositoryAt { namespace: namespace.to_owned(), repository };
    let attributes = RepositoryAttributes {
        is_public: fields.is_public()?,
        category: fields.optional_text("category")?.filter(|text| !text.is_empty()).unwrap_or("other").to_owned(),
        description: fields.optional_text("description")?.unwrap_or_default().to_owned(),
    };
    drop(fields);
    call.registry.content().create_repository(&call.principal, &at.name()?, attributes).await?;
    Ok(answer::done())
}

/// `GET …/repos/{repository}`: 200, contract 5.3.
pub(super) async fn show_repository(call: &Call, at: &RepositoryAt) -> Answer {
    let summary = call.registry.content().show_repository(&call.principal, &at.name()?).await?;
    let repository = summary.repository;
    let path = pull_path(call.registry.settings(), repository.full_name().as_ref());
    let view = json!({
        "id": repository.id,
        "ns_id": repository.namespace_id,
        "name": repository.name,
        "category": repository.category,
        "description": repository.description,
        "creator_id": repository.creator_id,
        "creator_name": repository.creator_name,
        "size": summary.size_bytes,
        "is_public": repository.is_public,
        "num_images": summary.tag_count,
        "num_download": 0,
        "url": "",
        "path": path,
        "internal_path": path,
        "created": answer::time(repository.created_at_ms),
        "updated": answer::time(repository.updated_at_ms),
        "domain_id": repository.account_id,
        "priority": 0,
    });
    Ok(Json(view).into_response())
}

/// `PATCH …/repos/{repository}`: 201; `is_public` is mandatory even when unchanged, contract 5.3.
pub(super) async fn update_repo(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let fields = Fields::parse(&call.body)?;
    let is_public = fields.is_public()?;
    let category = fields.optional_text("category")?.filter(|text| !text.is_empty()).map(str::to_owned);
    let description = fields.optional_text("description")?.map(str::to_owned);
    drop(fields);
    call.registry.content().update_repository(&call.principal, &name, is_public, category, description).await?;
    Ok(answer::created())
}

/// `DELETE …/repos/{repository}`: 204, with all its tags, contract 5.3.
pub(super) async fn delete_repo(call: &Call, at: &RepositoryAt) -> Answer {
    call.registry.content().delete_repository(&call.principal, &at.name()?).await?;
    Ok(answer::gone())
}

/// `GET /v2/manage/repos`: 200, a bare array with `Content-Range`, contract 5.3. Descriptions beyond the budget of a page
/// are empty, as manifests are in a list of tags.
pub(super) async fn list_repos_details(call: &Call) -> Answer {
    let query = call.query.effective()?;
    let page = Page::of(&query)?;
    let list = list(&query, page.limit, RepositoryPage::Offset(page.offset))?;
    let RepositoryList { repositories, total, room, .. } =
        call.registry.content().list_repositories(&call.principal, list).await?;
    let settings = call.registry.settings();
    let views: Vec<RepositoryView> =
        repositories.into_iter().map(|row| RepositoryView::new(settings, row, total)).collect();
    Ok(page.answer_large(&views, total, room))
}

/// `GET /v3/manage/repos`: 200, by marker, contract 5.3. The marker is left out on the last page.
pub(super) async fn list_repo_details(call: &Call) -> Answer {
    let query = call.query.effective()?;
    let limit = paging::limit(&query)?;
    let marker = match query.get("marker") {
        None => 0,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|id| *id >= -1)
            .ok_or_else(|| super::query::bad_query("marker", text, "the nextMarker of the page before"))?,
    };
    // One more than the page tells whether another follows.
    let list = list(&query, limit + 1, RepositoryPage::AfterId(marker.max(0)))?;
    let RepositoryList { mut repositories, ended_early, room, .. } =
        call.registry.content().list_repositories(&call.principal, list).await?;
    let more = ended_early || i64::try_from(repositories.len()).unwrap_or(i64::MAX) > limit;
    repositories.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_marker = repositories.last().filter(|_| more).map(|row| row.repository.id);
    let repos = repositories.into_iter().map(RepositoryViewV3::from).collect();
    Ok(pieces::json(&RepositoryViewsV3 { repos, next_marker }, room))
}

fn list(query: &Query, limit: i64, page: RepositoryPage) -> Result<ListRepositories, ManageError> {
    Ok(ListRepositories {
        namespace: query.get("namespace").map(str::to_owned),
        name_contains: query.get("name").map(|name| name.replace('$', "/")),
        category: query.get("category").map(str::to_owned),
        is_public: query.flag("is_public")?,
        order: paging::order(query, &ORDER_COLUMNS, (RepoOrder::Name, false))?,
        limit,
        with_tags: matches!(page, RepositoryPage::Offset(_)),
        overflow: match page {
            RepositoryPage::Offset(_) => Overflow::LeaveOut,
            RepositoryPage::AfterId(_) => Overflow::EndThePage,
        },
        page,
    })
}
