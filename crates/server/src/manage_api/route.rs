//! From method and path to the operation: the whole table of the management API, top to bottom.
//!
//! Each segment is percent-decoded once, after the path was split; in a repository's place `$` stands for `/`, and raw
//! extra segments are taken as part of its name (contract 1.2). Names are checked later, when the caller is known.

use std::borrow::Cow;

use ::http::Method;
use percent_encoding::percent_decode_str;
use transship_oci::{NamespaceName, RepositoryName, RepositoryPath};

use crate::http::manage_error::{ManageCode, ManageError};

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
            ManageError::new(ManageCode::BadRepository, error.to_string())
        })?;
        Ok(RepositoryName::new(namespace, repository))
    }
}

/// An organization's name; the whole-name check of the two samples that leave names out ends here too (contract 1.2).
pub(super) fn parse_namespace(text: &str) -> Result<NamespaceName, ManageError> {
    text.parse()
        .map_err(|error: transship_oci::GrammarError| ManageError::new(ManageCode::BadNamespace, error.to_string()))
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

    /// The known endings are looked for from the right, so that a name may span several segments.
    fn find_in_repository(method: &str, name: &str, path: &[&str]) -> Option<Self> {
        match (method, path) {
            // Nothing, or a resource of a repository that is not built yet: nobody may reach a repository of such a name
            // instead.
            (
                _,
                []
                | [_, .., "sync_repo" | "triggers" | "retentions"]
                | [_, .., "triggers" | "retentions", _]
                | [_, .., _, "accessories" | "references"],
            ) => None,
            ("POST", [repository @ .., "sync_images"]) if !repository.is_empty() => {
                Some(Self::CreateManualImageSyncRepo(at(name, repository)))
            }
            ("GET", [repository @ .., "sync_job"]) if !repository.is_empty() => {
                Some(Self::ShowSyncJob(at(name, repository)))
            }
            (method, [repository @ .., "access"]) if !repository.is_empty() => {
                let at = at(name, repository);
                match method {
                    "GET" => Some(Self::ShowUserRepositoryAuth(at)),
                    "POST" => Some(Self::CreateUserRepositoryAuth(at)),
                    "PATCH" => Some(Self::UpdateUserRepositoryAuth(at)),
                    "DELETE" => Some(Self::DeleteUserRepositoryAuth(at)),
                    _ => None,
                }
            }
            ("GET", [repository @ .., "tags"]) if !repository.is_empty() => {
                Some(Self::ListRepositoryTags(at(name, repository)))
            }
            ("POST", [repository @ .., "tags"]) if !repository.is_empty() => {
                Some(Self::CreateRepoTag(at(name, repository)))
            }
            ("GET", [repository @ .., "tags", tag]) if !repository.is_empty() => {
                Some(Self::ShowRepoTag(at(name, repository), (*tag).to_owned()))
            }
            ("DELETE", [repository @ .., "tags", tag]) if !repository.is_empty() => {
                Some(Self::DeleteRepoTag(at(name, repository), (*tag).to_owned()))
            }
            ("GET", repository) => Some(Self::ShowRepository(at(name, repository))),
            ("PATCH", repository) => Some(Self::UpdateRepo(at(name, repository))),
            ("DELETE", repository) => Some(Self::DeleteRepo(at(name, repository))),
            _ => None,
        }
    }
}

fn at(namespace: &str, repository: &[&str]) -> RepositoryAt {
    RepositoryAt { namespace: namespace.to_owned(), repository: repository.join("/").replace('$', "/") }
}

#[cfg(test)]
mod tests;
