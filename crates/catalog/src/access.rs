//! Reads the levels of one user on one namespace or repository, in one query each. What they allow is decided
//! elsewhere.

use transship_oci::{NamespaceName, RepositoryName};

use crate::level::level;
use crate::namespaces::{namespace, namespace_columns};
use crate::repositories::{repository, repository_columns};
use crate::row::Columns as _;
use crate::{Catalog, CatalogError, Level, Namespace, Repository};

/// What an access decision about a user and a repository name needs. The name need not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The namespace of that name.
    pub namespace: Option<Namespace>,
    /// The repository of that name.
    pub repository: Option<Repository>,
    /// The user's own level on the namespace.
    pub namespace_level: Option<Level>,
    /// The user's own level on the repository.
    pub repository_level: Option<Level>,
}

impl Catalog {
    /// Returns what exists under a repository name, and the levels of the user, if one is given.
    pub async fn access(&self, name: &RepositoryName, user_id: Option<&str>) -> Result<Access, CatalogError> {
        let sql = concat!(
            "SELECT ",
            namespace_columns!(),
            ", ",
            repository_columns!(),
            ", np.level AS namespace_level, rp.level AS repository_level
            FROM namespace n
            LEFT JOIN repository r ON r.namespace_id = n.id AND r.name = $2
            LEFT JOIN namespace_permission np ON np.namespace_id = n.id AND np.user_id = $3
            LEFT JOIN repository_permission rp ON rp.repository_id = r.id AND rp.user_id = $3
            WHERE n.name = $1"
        );
        let row = self
            .read_optional(|| {
                self.query(sql).bind(name.namespace().as_str()).bind(name.repository().as_str()).bind(user_id)
            })
            .await?;
        let Some(row) = row else { return Ok(Access::default()) };
        let has_repository = row.optional_number("repository_id")?.is_some();
        Ok(Access {
            namespace: Some(namespace(&row)?),
            repository: if has_repository { Some(repository(&row)?) } else { None },
            namespace_level: level(&row, "namespace_level")?,
            repository_level: level(&row, "repository_level")?,
        })
    }

    /// Returns the namespace of that name, and the user's own level on it.
    pub async fn namespace_access(
        &self,
        name: &NamespaceName,
        user_id: Option<&str>,
    ) -> Result<Option<(Namespace, Option<Level>)>, CatalogError> {
        let sql = concat!(
            "SELECT ",
            namespace_columns!(),
            ", p.level AS level FROM namespace n
            LEFT JOIN namespace_permission p ON p.namespace_id = n.id AND p.user_id = $2
            WHERE n.name = $1"
        );
        let row = self.read_optional(|| self.query(sql).bind(name.as_str()).bind(user_id)).await?;
        row.map(|row| Ok((namespace(&row)?, level(&row, "level")?))).transpose()
    }
}
