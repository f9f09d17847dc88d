//! Quotas of organizations: refusing bytes before they are taken, and what an operator sets. Counting is the catalog's.

use transship_catalog::{CatalogError, Limit, NamespaceUsage, Resource};
use transship_oci::{Digest, NamespaceName, RepositoryName};

use crate::access::token_grant::Grant;
use crate::content::service::Content;
use crate::error::ServiceError;

/// Namespaces read together for a list.
const PAGE: i64 = 500;

impl Content {
    /// Refuses a body whose length is known and that the organization has no room for, before any of it is read. With a
    /// session, what that holds is a part of the upload, and counts already. A session that is gone is refused by nobody
    /// here: its closing PUT may be repeated.
    ///
    /// # Errors
    /// [`ServiceError::NamespaceFull`]; content that the organization has already, and that `digest` names, always fits.
    pub async fn require_room(
        &self,
        grant: &Grant,
        name: &RepositoryName,
        session: Option<&str>,
        digest: Option<&Digest>,
        length_bytes: u64,
    ) -> Result<(), ServiceError> {
        if !self.catalog().has_byte_limit(name.namespace()).await? {
            return Ok(());
        }
        let (before, reserved) = match session {
            // How full an organization is, is nothing for the token of another one.
            None => {
                let namespace = self.catalog().find_namespace(name.namespace()).await?;
                namespace.map_or(Ok(()), |namespace| grant.on(name).require(namespace.id))?;
                (0, 0)
            }
            Some(session) => match self.upload(grant, name, session).await {
                Err(ServiceError::UploadAbsent) => return Ok(()),
                found => found.map(|upload| (upload.offset_bytes, upload.reserved_bytes))?,
            },
        };
        let size_bytes = before.saturating_add(length_bytes);
        match self.catalog().require_room(name.namespace(), digest, size_bytes, reserved).await {
            // More than can be stored anywhere is more than there is room for; the end of the upload would say so as well.
            Err(CatalogError::Invalid { what }) => Err(ServiceError::Denied(what)),
            other => Ok(other?),
        }
    }

    /// Every organization with what it uses and may use; for an operator.
    pub async fn namespace_usages(&self) -> Result<Vec<NamespaceUsage>, ServiceError> {
        let mut all: Vec<NamespaceUsage> = Vec::new();
        loop {
            let page = self.catalog().namespace_usages(all.last().map_or(0, |last| last.namespace_id), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Says what an organization may use, and returns what holds now; for an operator.
    pub async fn set_quotas(
        &self,
        namespace: &NamespaceName,
        limits: &[(Resource, Limit)],
    ) -> Result<NamespaceUsage, ServiceError> {
        let usage = self.catalog().set_quotas(namespace, limits).await?;
        usage.ok_or_else(|| self.access.namespace_absent(namespace))
    }
}
