//! Repositories as the management API sees them: contract 5.3.

use transship_catalog::{CatalogError, Level, ListedRepository, NewRepository, RepoOrder, Repository, RepositoryTexts};
use transship_oci::RepositoryName;

use crate::access::asks::Asks;
use crate::access::policy::Principal;
use crate::access::policy::denied;
use crate::access::proof::{Authorized, Push};
use crate::content::large_pages::Room;
use crate::content::large_pages::{PAGE_BYTES, PATIENCE, ROW_BYTES};
use crate::content::service::Content;
use crate::error::ServiceError;

pub use transship_catalog::RepositorySummary;

/// The categories of the contract; `arms` is the spelling of the SDKs' enum.
const CATEGORIES: [&str; 9] =
    ["app_server", "linux", "framework_app", "database", "lang", "other", "windows", "arm", "arms"];
/// Maximum length of a description; the contract gives none for repositories, and 1000 characters for shares.
const MAX_DESCRIPTION_CHARS: usize = 30_000;
/// Tags that all repositories of a page show together; each shows at least [`LEAST_TAGS`], at most [`MOST_TAGS`].
const TAGS_ON_A_PAGE: i64 = 10_000;
const MOST_TAGS: i64 = 100;
const LEAST_TAGS: i64 = 10;
/// Bytes of the longest tag with its JSON syntax.
const TAG_BYTES: u64 = 132;

/// The attributes of a repository that a user sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryAttributes {
    /// Whether everybody may pull.
    pub is_public: bool,
    /// One of the contract's categories.
    pub category: String,
    /// Free text.
    pub description: String,
}

impl Default for RepositoryAttributes {
    fn default() -> Self {
        Self { is_public: false, category: "other".to_owned(), description: String::new() }
    }
}

impl RepositoryAttributes {
    /// Checks the attributes, for every way in which a repository is created or changed.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        if !CATEGORIES.contains(&self.category.as_str()) {
            return Err(ServiceError::InvalidParameter {
                name: "category",
                value: self.category.clone(),
                expected: format!("one of {}", CATEGORIES.join(", ")),
            });
        }
        let chars = self.description.chars().count();
        if chars > MAX_DESCRIPTION_CHARS || self.description.contains('\0') {
            return Err(ServiceError::InvalidParameter {
                name: "description",
                value: format!("{chars} characters long"),
                expected: format!("at most {MAX_DESCRIPTION_CHARS} characters, none of them NUL"),
            });
        }
        Ok(())
    }
}

/// Which repositories to list.
#[derive(Clone, Debug)]
pub struct ListRepositories {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only names that contain this.
    pub name_contains: Option<String>,
    /// Only this category.
    pub category: Option<String>,
    /// Only public, or only private ones.
    pub is_public: Option<bool>,
    /// The order, and whether it is descending.
    pub order: (RepoOrder, bool),
    /// Page size.
    pub limit: i64,
    /// Where the page starts.
    pub page: RepositoryPage,
    /// Whether the list shows tags.
    pub with_tags: bool,
    /// What to do with descriptions for which the page has no room.
    pub overflow: Overflow,
}

/// What to do with descriptions beyond the budget of a page; the first is always included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Leaves them empty.
    LeaveOut,
    /// Ends the page before them.
    EndThePage,
}

/// One page of repositories.
#[derive(Debug)]
pub struct RepositoryList {
    /// The repositories.
    pub repositories: Vec<RepositorySummary>,
    /// Number of repositories on all pages.
    pub total: i64,
    /// Whether the page ended before its limit although repositories follow.
    pub ended_early: bool,
    /// The room that the page takes while it is sent.
    pub room: Room,
}

/// Where a page of repositories starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryPage {
    /// After this many records.
    Offset(i64),
    /// After the repository with this id, in the order of ids.
    AfterId(i64),
}

impl Content {
    /// Creates a repository; needs write level on the namespace.
    pub async fn create_repository(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        attributes: RepositoryAttributes,
    ) -> Result<(), ServiceError> {
        attributes.check()?;
        let (namespace, _) = self.access.namespace_for(principal, name.namespace(), Level::Write).await?;
        let new = new_repository(principal, namespace.id, name, attributes);
        match self.catalog().create_repository(new).await {
            Ok(_) => Ok(()),
            Err(CatalogError::Conflict { .. }) => Err(ServiceError::RepositoryExists(name.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// The repository of that name, created if absent, without a permission check.
    ///
    /// The caller has checked, and names the namespace that it checked by its id.
    pub(crate) async fn ensure_repository(
        &self,
        principal: &Principal,
        namespace_id: i64,
        name: &RepositoryName,
        attributes: RepositoryAttributes,
    ) -> Result<Repository, ServiceError> {
        Ok(self.catalog().ensure_repository(new_repository(principal, namespace_id, name, attributes)).await?)
    }

    /// As [`Content::ensure_repository`], in the namespace that a token was made for.
    pub(crate) async fn ensure_granted_repository(
        &self,
        principal: &Principal,
        push: Authorized<'_, Push>,
        attributes: RepositoryAttributes,
    ) -> Result<Repository, ServiceError> {
        let namespace = self.namespace(push.name().namespace()).await?;
        push.require(namespace.id)?;
        self.ensure_repository(principal, namespace.id, push.name(), attributes).await
    }

    /// The repository of that name, in the namespace that a token was made for.
    pub(crate) async fn granted_repository<R>(&self, granted: Authorized<'_, R>) -> Result<Repository, ServiceError> {
        if let Some(repository) = self.catalog().find_repository(granted.name()).await? {
            granted.require(repository.namespace_id)?;
            return Ok(repository);
        }
        // If the organization was created anew, the holder of an old token must not learn even what it lacks.
        if let Some(namespace) = self.catalog().find_namespace(granted.name().namespace()).await? {
            granted.require(namespace.id)?;
        }
        Err(ServiceError::RepositoryAbsent(granted.name().to_string()))
    }

    /// One repository with its counts. Only its own account sees who created it.
    pub async fn show_repository(
        &self,
        principal: &Principal,
        name: &RepositoryName,
    ) -> Result<RepositorySummary, ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Read).await?;
        let summary = self.catalog().repository_summary(repository.id).await?;
        let mut summary = summary.ok_or_else(|| ServiceError::RepositoryAbsent(name.to_string()))?;
        if summary.repository.account_id != principal.account_id {
            summary.repository.creator_id.clear();
            summary.repository.creator_name.clear();
        }
        Ok(summary)
    }

    /// Changes the attributes of a repository; `None` leaves a field unchanged.
    pub async fn update_repository(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        is_public: bool,
        category: Option<String>,
        description: Option<String>,
    ) -> Result<(), ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Write).await?;
        let attributes = RepositoryAttributes {
            is_public,
            category: category.unwrap_or(repository.category),
            description: description.unwrap_or(repository.description),
        };
        attributes.check()?;
        let (category, description) = (&attributes.category, &attributes.description);
        Ok(self.catalog().update_repository(repository.id, is_public, category, description).await?)
    }

    /// Deletes a repository with all its tags.
    pub async fn delete_repository(&self, principal: &Principal, name: &RepositoryName) -> Result<(), ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Manage).await?;
        self.catalog().delete_repository(repository.id).await?;
        self.jobs().changed();
        Ok(())
    }

    /// One page of the repositories of the caller's account that the caller may see.
    pub async fn list_repositories(
        &self,
        principal: &Principal,
        list: ListRepositories,
    ) -> Result<RepositoryList, ServiceError> {
        let (offset, after_id) = match list.page {
            RepositoryPage::Offset(offset) => (offset, None),
            RepositoryPage::AfterId(id) => (0, Some(id)),
        };
        let asked = transship_catalog::ListRepositories {
            account_id: principal.account_id.clone(),
            user_id: principal.user_id.clone(),
            is_admin: principal.is_admin,
            namespace: list.namespace,
            name_contains: list.name_contains,
            category: list.category,
            is_public: list.is_public,
            order: list.order.0,
            descending: list.order.1,
            limit: list.limit,
            offset,
            after_id,
        };
        let most_tags =
            if list.with_tags { (TAGS_ON_A_PAGE / list.limit.max(1)).clamp(LEAST_TAGS, MOST_TAGS) } else { 0 };
        let asks = Asks::Account(&principal.account_id);
        let read = || async { Ok(self.catalog().list_repositories(asked.clone()).await?) };
        let size = |(rows, _): &(Vec<ListedRepository>, i64)| records_bytes(rows, most_tags) + fitting(rows).1;
        let ((mut rows, total), mut room) = self.rooms().read(asks, PATIENCE, read, size).await?;
        let fitting = fitting(&rows).0;
        let ends_early = list.overflow == Overflow::EndThePage;
        let mut ended_early = ends_early && fitting < rows.len();
        if ended_early {
            rows.truncate(fitting);
        }
        let ids = |rows: &[ListedRepository]| rows.iter().map(|row| row.summary.repository.id).collect::<Vec<_>>();
        let (within, beyond) = rows.split_at(fitting);
        let mut texts = self.catalog().repository_texts(&ids(within), true, most_tags).await?;
        if !beyond.is_empty() {
            texts.extend(self.catalog().repository_texts(&ids(beyond), false, most_tags).await?);
        }
        let (of_records, mut of_texts) = (records_bytes(&rows, most_tags), 0);
        let mut repositories = Vec::with_capacity(rows.len());
        for row in rows {
            let mut summary = row.summary;
            let RepositoryTexts { description, tags } = texts.remove(&summary.repository.id).unwrap_or_default();
            // JSON escapes some characters with six bytes. The room of a text covers JSON of twice its bytes; longer
            // JSON takes more room.
            let bytes = (description.len() as u64).max(json_bytes(&description) / 2);
            let fits =
                of_texts + bytes <= PAGE_BYTES && self.rooms().grow(&mut room, asks, of_records + of_texts + bytes);
            if fits || repositories.is_empty() {
                of_texts += bytes;
                summary.repository.description = description;
            } else if ends_early {
                ended_early = true;
                break;
            }
            summary.tags = tags;
            repositories.push(summary);
        }
        Ok(RepositoryList { repositories, total, ended_early, room })
    }

    /// Refuses callers without write on the namespace, and names the missing permission (contract 3.3).
    pub(crate) async fn require_push(&self, principal: &Principal, name: &RepositoryName) -> Result<(), ServiceError> {
        self.pushable_namespace(principal, name).await.map(|_| ())
    }

    /// As [`Content::require_push`]; returns the id of the namespace that it checked.
    pub(crate) async fn pushable_namespace(
        &self,
        principal: &Principal,
        name: &RepositoryName,
    ) -> Result<i64, ServiceError> {
        let access = self.access.effective_access(name, Some(principal)).await?;
        let Some(namespace) = &access.namespace else {
            return Err(self.access.namespace_absent(name.namespace()));
        };
        if access.allows(transship_oci::Action::Push) {
            return Ok(namespace.id);
        }
        Err(denied(principal, "write permission (3)", format!("organization {}", name.namespace())))
    }
}

/// How many repositories of a page include their descriptions, and the total bytes of these.
fn fitting(rows: &[ListedRepository]) -> (usize, u64) {
    let mut bytes = 0;
    for (place, row) in rows.iter().enumerate() {
        if place > 0 && bytes + row.description_bytes > PAGE_BYTES {
            return (place, bytes);
        }
        bytes += row.description_bytes;
    }
    (rows.len(), bytes)
}

/// Size of the records without descriptions.
fn records_bytes(rows: &[ListedRepository], most_tags: i64) -> u64 {
    let tags: i64 = rows.iter().map(|row| row.summary.tag_count.min(most_tags)).sum();
    rows.len() as u64 * ROW_BYTES + u64::try_from(tags).unwrap_or(0) * TAG_BYTES
}

/// Length of a text in JSON.
fn json_bytes(text: &str) -> u64 {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..=31 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

fn new_repository(
    principal: &Principal,
    namespace_id: i64,
    name: &RepositoryName,
    attributes: RepositoryAttributes,
) -> NewRepository {
    NewRepository {
        namespace_id,
        name: name.repository().clone(),
        is_public: attributes.is_public,
        category: attributes.category,
        description: attributes.description,
        creator_id: principal.user_id.clone(),
        creator_name: principal.user_name.clone(),
    }
}
