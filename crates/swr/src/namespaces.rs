//! Organizations: contract 5.1.

use serde::{Deserialize, Serialize};
use transship_oci::NamespaceName;

use crate::error::ApiError;
use crate::fields::Fields;
use crate::record::record;
use crate::route::parse_namespace;

record! {
    /// The request of `CreateNamespace`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CreateNamespaceRequestBody {
        /// The name of the new organization.
        pub namespace: NamespaceName = "namespace",
    }
}

impl CreateNamespaceRequestBody {
    /// Reads a body.
    ///
    /// # Errors
    /// The contract's code for what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        Ok(Self { namespace: parse_namespace(fields.text("namespace")?)? })
    }
}

record! {
    /// An organization, and two counts that the hosted service sends too.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowNamespace {
        /// Its number, below 2^31.
        pub id: i64 = "id",
        /// Its name.
        pub name: String = "name",
        /// The name of the user who created it.
        pub creator_name: String = "creator_name",
        /// The caller's level: 7 manage, 3 write, 1 read.
        pub auth: i64 = "auth",
        /// How many repositories it has.
        pub repo_count: i64 = "repo_count" [default],
        /// How many users have a level on it.
        pub access_user_count: i64 = "access_user_count" [default],
    }
}

record! {
    /// The answer of `ListNamespaces`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ListNamespacesResponse {
        /// The organizations.
        pub namespaces: Vec<ShowNamespace> = "namespaces",
    }
}
