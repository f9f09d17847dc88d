//! From method and path to the operation: the whole table of the management API, top to bottom.
//!
//! Each segment is percent-decoded once, after the path was split; in a repository's place `$` stands for `/`, and raw
//! extra segments are taken as part of its name where that leaves no doubt (contract 1.2). Names are checked later, when the caller is known.

use std::borrow::Cow;

use ::http::Method;
use percent_encoding::percent_decode_str;
use transship_oci::{NamespaceName, RepositoryName, RepositoryPath};
use transship_swr::ErrorCode;

use super::error::ManageError;

/// The repository that a path names, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepositoryAt {
    pub(super) namespace: String,
    pub(super) repository: String,
}

impl RepositoryAt {
    /// The name, when both parts keep to the grammar.
    pub(super) fn name(&self) -> Result<RepositoryName, ManageError> {
        let namespace = parse_namespace(&self.namespace)?;
        let repository: RepositoryPath = self.repository.parse().map_err(|error: transship_oci::GrammarError| {
            ManageError::new(ErrorCode::BadRepository, error.to_string())
        })?;
        Ok(RepositoryName::new(namespace, repository))
    }
}

/// An organization's name; the whole-name check of the two samples that leave names out ends here too (contract 1.2).
pub(super) fn parse_namespace(text: &str) -> Result<NamespaceName, ManageError> {
    text.parse()
        .map_err(|error: transship_oci::GrammarError| ManageError::new(ErrorCode::BadNamespace, error.to_string()))
}

/// An operation of the management API, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ListApiVersions,
    ShowApiVersion { version: String },
    CreateNamespace,
    ListNamespaces,
    ShowNamespace { namespace: String },
    DeleteNamespaces { namespace: String },
    ShowNamespaceAuth { namespace: String },
    CreateNamespaceAuth { namespace: String },
    UpdateNamespaceAuth { namespace: String },
    DeleteNamespaceAuth { namespace: String },
    CreateRepo { namespace: String },
    ListReposDetails,
    ListRepoDetails,
    ShowRepository(RepositoryAt),
    UpdateRepo(RepositoryAt),
    DeleteRepo(RepositoryAt),
    ShowUserRepositoryAuth(RepositoryAt),
    CreateUserRepositoryAuth(RepositoryAt),
    UpdateUserRepositoryAuth(RepositoryAt),
    DeleteUserRepositoryAuth(RepositoryAt),
    ListRepositoryTags(RepositoryAt),
    ListRepositoryTag(RepositoryAt),
    ShowRepoTag(RepositoryAt, String),
    CreateRepoTag(RepositoryAt),
    DeleteRepoTag(RepositoryAt, String),
    CreateManualImageSyncRepo(RepositoryAt),
    ShowSyncJob(RepositoryAt),
    ListSyncRegions,
    CreateSecret,
    ListQuotas { project_id: String },
    ShowShareFeatureGates { project_id: String },
    ShowDomainOverview,
}

impl Operation {
    /// The operation of a request; `None` for a path or a method that the API does not have.
    pub(super) fn find(method: &Method, raw_path: &str) -> Option<Self> {
        let decoded: Vec<Cow<'_, str>> =
            raw_path.strip_prefix('/')?.split('/').map(|raw| percent_decode_str(raw).decode_utf8_lossy()).collect();
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        match segments.as_slice() {
            ["v2", "manage", rest @ ..] => Self::find_v2(method, rest),
            ["v3", "manage", rest @ ..] => Self::find_v3(method, rest),
            [""] if method == Method::GET => Some(Self::ListApiVersions),
            [version] if method == Method::GET => Some(Self::ShowApiVersion { version: (*version).to_owned() }),
            _ => None,
        }
    }

    fn find_v2(method: &Method, path: &[&str]) -> Option<Self> {
        let owned = |text: &str| text.to_owned();
        match (method.as_str(), path) {
            ("GET", ["regions"]) => Some(Self::ListSyncRegions),
            ("GET", ["overview"]) => Some(Self::ShowDomainOverview),
            ("POST", ["utils", "secret"]) => Some(Self::CreateSecret),
            ("GET", ["projects", id, "quotas"]) => Some(Self::ListQuotas { project_id: owned(id) }),
            ("GET", ["projects", id, "feature-gates"]) => Some(Self::ShowShareFeatureGates { project_id: owned(id) }),
            ("GET", ["repos"]) => Some(Self::ListReposDetails),
            ("GET", ["namespaces"]) => Some(Self::ListNamespaces),
            ("POST", ["namespaces"]) => Some(Self::CreateNamespace),
            ("GET", ["namespaces", name]) => Some(Self::ShowNamespace { namespace: owned(name) }),
            ("DELETE", ["namespaces", name]) => Some(Self::DeleteNamespaces { namespace: owned(name) }),
            ("GET", ["namespaces", name, "access"]) => Some(Self::ShowNamespaceAuth { namespace: owned(name) }),
            ("POST", ["namespaces", name, "access"]) => Some(Self::CreateNamespaceAuth { namespace: owned(name) }),
            ("PATCH", ["namespaces", name, "access"]) => Some(Self::UpdateNamespaceAuth { namespace: owned(name) }),
            ("DELETE", ["namespaces", name, "access"]) => Some(Self::DeleteNamespaceAuth { namespace: owned(name) }),
            ("POST", ["namespaces", name, "repos"]) => Some(Self::CreateRepo { namespace: owned(name) }),
            (method, ["namespaces", name, "repos", rest @ ..]) => Self::find_in_repository(method, name, rest),
            _ => None,
        }
    }

    fn find_v3(method: &Method, path: &[&str]) -> Option<Self> {
        match (method.as_str(), path) {
            ("GET", ["repos"]) => Some(Self::ListRepoDetails),
            ("GET", ["namespaces", name, "repos", repository @ .., "tags"]) if !repository.is_empty() => {
                Some(Self::ListRepositoryTag(at(name, repository)))
            }
            _ => None,
        }
    }

    /// The one reading of a path below `…/repos/` that has this method; `None` where there are two, so that nobody reaches
    /// a resource by mistake. A name in a single segment leaves no doubt, even when its tag is called `access`.
    fn find_in_repository(method: &str, name: &str, path: &[&str]) -> Option<Self> {
        let readings = readings(path);
        let mut found: Vec<(usize, Self)> = readings
            .iter()
            .filter_map(|(len, resource)| Some((*len, Self::on(method, at(name, &path[..*len]), *resource)?)))
            .collect();
        let in_doubt = found.len() > 1 || readings.iter().any(|(_, resource)| matches!(resource, Resource::NotBuilt));
        if in_doubt {
            found.retain(|(len, _)| *len == 1);
        }
        found.pop().map(|(_, operation)| operation)
    }

    fn on(method: &str, at: RepositoryAt, resource: Resource<'_>) -> Option<Self> {
        match (method, resource) {
            ("GET", Resource::Itself) => Some(Self::ShowRepository(at)),
            ("PATCH", Resource::Itself) => Some(Self::UpdateRepo(at)),
            ("DELETE", Resource::Itself) => Some(Self::DeleteRepo(at)),
            ("GET", Resource::Access) => Some(Self::ShowUserRepositoryAuth(at)),
            ("POST", Resource::Access) => Some(Self::CreateUserRepositoryAuth(at)),
            ("PATCH", Resource::Access) => Some(Self::UpdateUserRepositoryAuth(at)),
            ("DELETE", Resource::Access) => Some(Self::DeleteUserRepositoryAuth(at)),
            ("GET", Resource::Tags) => Some(Self::ListRepositoryTags(at)),
            ("POST", Resource::Tags) => Some(Self::CreateRepoTag(at)),
            ("GET", Resource::Tag(tag)) => Some(Self::ShowRepoTag(at, tag.to_owned())),
            ("DELETE", Resource::Tag(tag)) => Some(Self::DeleteRepoTag(at, tag.to_owned())),
            ("POST", Resource::SyncImages) => Some(Self::CreateManualImageSyncRepo(at)),
            ("GET", Resource::SyncJob) => Some(Self::ShowSyncJob(at)),
            _ => None,
        }
    }
}

/// What a path names below `…/repos/`.
#[derive(Clone, Copy)]
enum Resource<'a> {
    Itself,
    Access,
    Tags,
    Tag(&'a str),
    SyncImages,
    SyncJob,
    NotBuilt,
}

/// Every way to cut a path into a repository's name, as a number of segments, and a resource of it.
///
/// A known ending is never part of a name, whatever the method: nobody may delete a repository `app/tags` by a mistake in
/// a call about the tags of `app`. Such a repository is named with `$`.
fn readings<'a>(path: &[&'a str]) -> Vec<(usize, Resource<'a>)> {
    let mut readings = Vec::new();
    if let [_, .., last] = path {
        let resource = match *last {
            "access" => Some(Resource::Access),
            "tags" => Some(Resource::Tags),
            "sync_images" => Some(Resource::SyncImages),
            "sync_job" => Some(Resource::SyncJob),
            "sync_repo" | "triggers" | "retentions" => Some(Resource::NotBuilt),
            _ => None,
        };
        readings.extend(resource.map(|resource| (path.len() - 1, resource)));
    }
    if let [_, .., middle, last] = path {
        match *middle {
            "tags" => readings.push((path.len() - 2, Resource::Tag(last))),
            "triggers" | "retentions" => readings.push((path.len() - 2, Resource::NotBuilt)),
            _ => {}
        }
        if matches!(*last, "accessories" | "references") {
            readings.push((path.len() - 2, Resource::NotBuilt));
        }
    }
    if readings.is_empty() && !path.is_empty() {
        readings.push((path.len(), Resource::Itself));
    }
    readings
}

fn at(namespace: &str, repository: &[&str]) -> RepositoryAt {
    RepositoryAt { namespace: namespace.to_owned(), repository: repository.join("/").replace('$', "/") }
}

#[cfg(test)]
mod tests;
