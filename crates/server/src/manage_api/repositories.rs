//! Repositories: contract 5.3.

use transship_registry::{
    ListRepositories, Overflow, RepoOrder, RepositoryAttributes, RepositoryList, RepositoryPage, RepositorySummary,
    Settings,
};
use transship_swr::query::{Query, bad_query};
use transship_swr::repositories::{
    CreateRepoRequestBody, ListRepoDetailsResponse, ShowReposResp, ShowReposRespV3, ShowRepositoryResponse,
    UpdateRepoRequestBody,
};
use transship_swr::route::parse_repository;
use transship_swr::{Page, PathValues, paging};

use super::error::ManageError;
use super::{Answer, Call, answer};
use crate::http::pieces;

/// The columns of the contract; the SDKs' `updated_at` is an alias of `updated_time`.
const ORDER_COLUMNS: [(&str, RepoOrder); 4] = [
    ("name", RepoOrder::Name),
    ("updated_time", RepoOrder::UpdatedAt),
    ("updated_at", RepoOrder::UpdatedAt),
    ("tag_count", RepoOrder::TagCount),
];

fn view(settings: &Settings, summary: RepositorySummary, total_range: i64) -> ShowReposResp {
    let repository = summary.repository;
    let path = pull_path(settings, repository.full_name().as_ref());
    ShowReposResp {
        name: repository.name.to_string(),
        category: repository.category,
        description: repository.description,
        size: summary.size_bytes,
        is_public: repository.is_public,
        num_images: summary.tag_count,
        num_download: 0,
        created_at: answer::time(repository.created_at_ms),
        updated_at: answer::time(repository.updated_at_ms),
        logo: String::new(),
        url: String::new(),
        internal_path: path.clone(),
        path,
        domain_name: summary.account_name,
        namespace: repository.namespace.to_string(),
        tags: summary.tags,
        status: false,
        total_range,
    }
}

fn view_v3(summary: RepositorySummary) -> ShowReposRespV3 {
    let repository = summary.repository;
    ShowReposRespV3 {
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

fn pull_path(settings: &Settings, name: &str) -> String {
    format!("{}/{name}", settings.registry_host)
}

/// `POST …/namespaces/{namespace}/repos`: 200, contract 5.3.
pub(super) async fn create_repo(call: &Call, at: &PathValues) -> Answer {
    at.namespace()?;
    let request = CreateRepoRequestBody::parse(&call.body)?;
    let attributes = RepositoryAttributes {
        is_public: request.is_public,
        category: request.category.unwrap_or_else(|| "other".to_owned()),
        description: request.description.unwrap_or_default(),
    };
    let name = parse_repository(at.get("namespace"), &request.repository.replace('$', "/"))?;
    call.registry.content().create_repository(&call.principal, &name, attributes).await?;
    Ok(answer::done())
}

/// `GET …/repos/{repository}`: 200, contract 5.3.
pub(super) async fn show_repository(call: &Call, at: &PathValues) -> Answer {
    let summary = call.registry.content().show_repository(&call.principal, &at.repository()?).await?;
    let repository = summary.repository;
    let path = pull_path(call.registry.settings(), repository.full_name().as_ref());
    Ok(answer::with(&ShowRepositoryResponse {
        category: repository.category,
        created: answer::time(repository.created_at_ms),
        creator_id: repository.creator_id,
        creator_name: repository.creator_name,
        description: repository.description,
        domain_id: repository.account_id,
        id: repository.id,
        internal_path: path.clone(),
        is_public: repository.is_public,
        name: repository.name.to_string(),
        ns_id: repository.namespace_id,
        num_download: 0,
        num_images: summary.tag_count,
        path,
        priority: 0,
        size: summary.size_bytes,
        updated: answer::time(repository.updated_at_ms),
        url: String::new(),
    }))
}

/// `PATCH …/repos/{repository}`: 201; `is_public` is mandatory even when unchanged, contract 5.3.
pub(super) async fn update_repo(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let UpdateRepoRequestBody { is_public, category, description } = UpdateRepoRequestBody::parse(&call.body)?;
    call.registry.content().update_repository(&call.principal, &name, is_public, category, description).await?;
    Ok(answer::created())
}

/// `DELETE …/repos/{repository}`: 204, with all its tags, contract 5.3.
pub(super) async fn delete_repo(call: &Call, at: &PathValues) -> Answer {
    call.registry.content().delete_repository(&call.principal, &at.repository()?).await?;
    Ok(answer::gone())
}

/// `GET /v2/manage/repos`: 200, a bare array with `Content-Range`, contract 5.3. Descriptions beyond the budget of a
/// page are empty, like manifests in a list of tags.
pub(super) async fn list_repos_details(call: &Call) -> Answer {
    let query = call.query.effective()?;
    let page = Page::of(&query)?;
    let list = list(&query, page.limit, RepositoryPage::Offset(page.offset))?;
    let RepositoryList { repositories, total, room, .. } =
        call.registry.content().list_repositories(&call.principal, list).await?;
    let settings = call.registry.settings();
    let views: Vec<ShowReposResp> = repositories.into_iter().map(|row| view(settings, row, total)).collect();
    Ok(answer::page(page, &views, total, room))
}

/// `GET /v3/manage/repos`: 200, paged by marker, contract 5.3. The last page has no marker.
pub(super) async fn list_repo_details(call: &Call) -> Answer {
    let query = call.query.effective()?;
    let limit = paging::limit(&query)?;
    let marker = match query.get("marker") {
        None => 0,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|id| *id >= -1)
            .ok_or_else(|| bad_query("marker", text, "the nextMarker of the page before"))?,
    };
    // One entry more than the page shows whether another page follows.
    let list = list(&query, limit + 1, RepositoryPage::AfterId(marker.max(0)))?;
    let RepositoryList { mut repositories, ended_early, room, .. } =
        call.registry.content().list_repositories(&call.principal, list).await?;
    let more = ended_early || i64::try_from(repositories.len()).unwrap_or(i64::MAX) > limit;
    repositories.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_marker = repositories.last().filter(|_| more).map(|row| row.repository.id);
    let repos = repositories.into_iter().map(view_v3).collect();
    Ok(pieces::json(&ListRepoDetailsResponse { repos, next_marker }, room))
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
