//! Quotas of organizations: refuses bytes before they are read, and sets limits for an operator. The catalog counts.

use transship_catalog::{CatalogError, Limit, NamespaceUsage, Resource};
use transship_oci::{Digest, NamespaceName};

use crate::access::proof::{Authorized, Push};
use crate::content::service::Content;
use crate::error::ServiceError;

/// Namespaces read at once for a list.
const PAGE: i64 = 500;

impl Content {
    /// Refuses a body of known length for which the organization has no room, before any of it is read.
    ///
    /// With a session, its bytes are part of the upload and are counted already. A session that is gone is not refused
    /// here: its closing PUT may be repeated.
    ///
    /// # Errors
    /// [`ServiceError::NamespaceFull`]; content that `digest` names and that the organization already has always fits.
    pub async fn require_room(
        &self,
        push: Authorized<'_, Push>,
        session: Option<&str>,
        digest: Option<&Digest>,
        length_bytes: u64,
    ) -> Result<(), ServiceError> {
        let name = push.name();
        if !self.catalog().has_byte_limit(name.namespace()).await? {
            return Ok(());
        }
        let (before, reserved) = match session {
            // A token for another organization of that name must not learn how full this one is.
            None => {
                let namespace = self.catalog().find_namespace(name.namespace()).await?;
                namespace.map_or(Ok(()), |namespace| push.require(namespace.id))?;
                (0, 0)
            }
            Some(session) => match self.upload(push, session).await {
                Err(ServiceError::UploadAbsent) => return Ok(()),
                found => found.map(|upload| (upload.offset_bytes, upload.reserved_bytes))?,
            },
        };
        let size_bytes = before.saturating_add(length_bytes);
        match self.catalog().require_room(name.namespace(), digest, size_bytes, reserved).await {
            // A size that no store can hold is refused too; the end of the upload would refuse it as well.
            Err(CatalogError::Invalid { what }) => Err(ServiceError::Denied(what)),
            other => Ok(other?),
        }
    }

    /// Every organization with its usage and limits; for an operator.
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

    /// Sets limits of an organization, and returns what applies now; for an operator.
    pub async fn set_quotas(
        &self,
        namespace: &NamespaceName,
        limits: &[(Resource, Limit)],
    ) -> Result<NamespaceUsage, ServiceError> {
        let usage = self.catalog().set_quotas(namespace, limits).await?;
        usage.ok_or_else(|| self.access.namespace_absent(namespace))
    }
}
