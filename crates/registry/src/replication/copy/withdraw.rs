//! Taking back what a cancelled job wrote: the target's tag becomes what it was before the job.
//!
//! A job records the target's tag just before it writes it. So whatever ends the job, this process or another, knows
//! what to undo. Owns: both ends of that. Never: blobs and manifests, which nothing names any more and collection
//! deletes.

use std::time::Duration;

use std::sync::Arc;

use transship_catalog::{Job, JobState, Repository, TargetBefore};
use transship_client::peer::{PeerClient, WithdrawReply, WithdrawRequest};
use transship_client::{ClientError, ErrorKind};
use transship_oci::{Digest, NamespaceName, RegionId, RepositoryName, RepositoryPath, Tag};

use super::PeerTokens;
use crate::access::policy::Principal;
use crate::access::proof::Push;
use crate::access::token_grant::Grant;
use crate::error::ServiceError;
use crate::replication::service::Replication;

/// How long the target may take. The job's lease was renewed just before, and is not renewed meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a tag that a cancelled job wrote is still in the target.
#[derive(Debug)]
pub(crate) enum NotWithdrawn {
    /// Another try may help.
    Yet(String),
    /// No try will help.
    Ever(String),
}

impl From<ServiceError> for NotWithdrawn {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Unavailable(_) | ServiceError::Internal(_) => Self::Yet(error.to_string()),
            other => Self::Ever(other.to_string()),
        }
    }
}

impl From<ClientError> for NotWithdrawn {
    fn from(error: ClientError) -> Self {
        match error.kind() {
            ErrorKind::Retry | ErrorKind::RetryAfter(_) => Self::Yet(error.to_string()),
            ErrorKind::Permanent | ErrorKind::PreconditionFailed => Self::Ever(error.to_string()),
        }
    }
}

/// The tag that a job wrote.
struct Written {
    target: RepositoryName,
    region: RegionId,
    tag: Tag,
    digest: Digest,
    before: Option<Digest>,
}

impl Replication {
    /// Restores the target's tag to what it was before a cancelled job wrote it. Does nothing if the job has not
    /// written it, if somebody else has moved it since, or if the source's tag exists again with the same image.
    pub(crate) async fn withdraw(&self, job: &Job) -> Result<(), NotWithdrawn> {
        // The row has what this run recorded.
        let row = self.catalog().find_jobs(&[job.id]).await.map_err(ServiceError::from)?.pop();
        let Some(row) = row.filter(|row| row.attempt == job.attempt) else { return Ok(()) };
        let Some(written) = written(&row) else { return Ok(()) };
        let source = match row.repository_id {
            0 => self.namesake(&row).await?,
            id => Some(id),
        };
        if let Some(source) = source
            && self.content.resolve_tag(source, &written.tag).await? == Some(written.digest.clone())
        {
            return Ok(());
        }
        let user = self.identity.user_by_id(&job.operator_id).await?.filter(|user| user.enabled);
        let principal = user.map(Principal::from).ok_or_else(|| {
            NotWithdrawn::Ever(format!(
                "user {} was removed or disabled since it asked for this copy",
                job.operator_name
            ))
        })?;
        let withdrawn = if written.region == self.settings().region {
            let before = written.before.as_ref();
            self.withdraw_here(&principal, None, &written.target, &written.tag, &written.digest, before).await?
        } else {
            let asking = self.withdraw_there(&principal, &written);
            let asked = tokio::time::timeout(PATIENCE, asking).await;
            asked.map_err(|_| NotWithdrawn::Yet(format!("region {} did not answer", written.region)))??
        };
        tracing::info!(tag = %written.tag, target = %written.target, region = %written.region, withdrawn, "a cancelled job's tag in the target was looked at");
        Ok(())
    }

    /// Returns the repository that the same account has made again under the name of the job's source.
    async fn namesake(&self, job: &Job) -> Result<Option<i64>, ServiceError> {
        let (Ok(namespace), Ok(path)) = (job.namespace.parse(), job.repository.parse()) else { return Ok(None) };
        let found = self.catalog().find_repository(&RepositoryName::new(namespace, path)).await?;
        Ok(found.filter(|found| found.account_id == job.account_id).map(|found| found.id))
    }

    async fn withdraw_there(&self, principal: &Principal, written: &Written) -> Result<bool, NotWithdrawn> {
        let peer = self
            .trust
            .peer_client(&written.region)
            .ok_or_else(|| NotWithdrawn::Ever(format!("region {} is not configured here any more", written.region)))?;
        let tokens = self.peer_tokens(principal, &written.region, &written.target).await;
        let request = WithdrawRequest {
            namespace: written.target.namespace().clone(),
            repository: written.target.repository().clone(),
            tag: written.tag.clone(),
            digest: written.digest.clone(),
            before: written.before.clone(),
        };
        Ok(ask(peer, &tokens, &request).await?.withdrawn)
    }

    /// Answers another region that takes back a tag it has written.
    ///
    /// The right to push is enough: with it the region could write the tag, and can overwrite it again.
    pub async fn answer_withdraw(
        &self,
        grant: &Arc<Grant>,
        request: &WithdrawRequest,
    ) -> Result<WithdrawReply, ServiceError> {
        let target = RepositoryName::new(request.namespace.clone(), request.repository.clone());
        // Only a region may take a tag back: its token was issued for a copy.
        let push = grant.authorize::<Push>(&target).filter(|_| grant.via.is_some());
        let Some((push, principal)) = push.and_then(|push| Some((push, push.principal()?))) else {
            return Err(ServiceError::Denied(format!("the token does not allow a region to push to {target}")));
        };
        let before = request.before.as_ref();
        let namespace_id = self.content.namespace(target.namespace()).await?.id;
        push.require(namespace_id)?;
        let withdrawn =
            self.withdraw_here(principal, Some(namespace_id), &target, &request.tag, &request.digest, before).await?;
        tracing::info!(tag = %request.tag, %target, via = ?grant.via, withdrawn, "a region takes back a tag");
        Ok(WithdrawReply { withdrawn })
    }

    /// Takes the tag back if the user may push; if `granted` is given, only in the namespace with this number.
    pub(super) async fn withdraw_here(
        &self,
        principal: &Principal,
        granted: Option<i64>,
        target: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        before: Option<&Digest>,
    ) -> Result<bool, ServiceError> {
        let namespace_id = self.content.pushable_namespace(principal, target).await?;
        let found = self.catalog().find_repository(target).await?;
        // The organization may have been replaced by another one, in which this job has written nothing.
        let is_same =
            |found: &Repository| found.namespace_id == namespace_id && granted.is_none_or(|id| id == namespace_id);
        let Some(repository) = found.filter(is_same) else { return Ok(false) };
        Ok(self.catalog().withdraw_tag(repository.id, tag, digest, before).await?)
    }
}

async fn ask(peer: &PeerClient, tokens: &PeerTokens, request: &WithdrawRequest) -> Result<WithdrawReply, ClientError> {
    match peer.withdraw(&tokens.get(false).await?, request).await {
        // The target may have changed its keys, or its clock.
        Err(error) if error.status() == Some(401) => peer.withdraw(&tokens.get(true).await?, request).await,
        other => other,
    }
}

/// Returns what a running job has written; `None` if it has written nothing. Its names were parsed before it wrote
/// anything.
fn written(job: &Job) -> Option<Written> {
    if job.state != JobState::Running {
        return None;
    }
    let before = match job.target_before.clone()? {
        TargetBefore::Absent => None,
        TargetBefore::Digest(digest) => Some(digest),
    };
    let namespace: NamespaceName = job.target_namespace.parse().ok()?;
    let path: RepositoryPath = job.repository.parse().ok()?;
    Some(Written {
        target: RepositoryName::new(namespace, path),
        region: job.target_region.parse().ok()?,
        tag: job.tag.parse().ok()?,
        digest: job.digest.as_deref()?.parse().ok()?,
        before,
    })
}

#[cfg(test)]
mod tests;
