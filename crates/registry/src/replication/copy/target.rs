//! Both ends of the trust between regions: getting a registry token there, and issuing one here.
//!
//! A region proves itself and its user with a short-lived token that it signs with its key. The target verifies the
//! token against the pinned key, finds the same account and user in its own catalog, and checks its own permissions. So
//! a region that is taken over can write only what its users could.

use std::collections::HashSet;
use std::sync::Arc;

use transship_client::ClientError;
use transship_client::peer::{
    MAX_PREPARE_ATTACHED, MAX_PREPARE_BLOBS, MAX_PREPARE_MANIFESTS, PrepareReply, PrepareRequest, TokenReply,
    TokenRequest,
};
use transship_oci::{Digest, Reference, RegionId, RepositoryName};

use super::peer_tokens::PeerTokens;
use crate::access::policy::Principal;
use crate::access::proof::Push;
use crate::access::token_grant::Grant;
use crate::content::repositories::RepositoryAttributes;
use crate::error::ServiceError;
use crate::identity::tokens::TokenError;
use crate::replication::region_tokens::RegionClaims;
use crate::replication::region_tokens::RegionTokenError;
use crate::replication::service::Replication;

/// Why a target does not take the image.
#[derive(Debug)]
pub(crate) enum TargetRefusal {
    /// The organization does not exist there.
    NamespaceAbsent,
    /// The user may not write there.
    Denied(String),
    /// It did not answer, or its answer cannot be used.
    Other(ClientError),
}

impl From<ClientError> for TargetRefusal {
    fn from(error: ClientError) -> Self {
        match error.status() {
            Some(404) if error.code() == Some("NAME_UNKNOWN") => Self::NamespaceAbsent,
            Some(401 | 403) => Self::Denied(error.to_string()),
            _ => Self::Other(error),
        }
    }
}

/// The asking side.
impl Replication {
    /// Asks a target whether this user may write this repository.
    pub(crate) async fn ask_target(
        &self,
        principal: &Principal,
        region: &RegionId,
        target: &RepositoryName,
    ) -> Result<(), TargetRefusal> {
        self.peer_tokens(principal, region, target).await.get(true).await?;
        Ok(())
    }

    /// The tokens of a user for a repository, shared by all jobs that write it.
    pub(crate) async fn peer_tokens(
        &self,
        principal: &Principal,
        region: &RegionId,
        target: &RepositoryName,
    ) -> Arc<PeerTokens> {
        let key = format!("{region}/{target}/{}", principal.user_id);
        self.known_tokens().get(key, || PeerTokens::new(&self.trust, principal, region, target)).await
    }
}

/// The answering side.
impl Replication {
    /// Verifies a region token and returns its region. The holder may learn the result before the rest of the request
    /// is read.
    ///
    /// # Errors
    /// The reason why [`Replication::answer_token`] would refuse the token too.
    pub fn check_region_token(&self, proof: &str) -> Result<RegionId, RegionTokenError> {
        self.trust.verify_region_token::<RegionClaims>(proof).map(|(peer, _)| peer.settings.id.clone())
    }

    /// Answers another region that asks for a registry token.
    ///
    /// # Errors
    /// [`ServiceError::NamespaceAbsent`], [`ServiceError::Denied`]; the inner error if the region token is refused.
    pub async fn answer_token(
        &self,
        proof: &str,
        request: &TokenRequest,
    ) -> Result<Result<TokenReply, RegionTokenError>, ServiceError> {
        let (peer, claims) = match self.trust.verify_region_token::<RegionClaims>(proof) {
            Ok(verified) => verified,
            Err(error) => return Ok(Err(error)),
        };
        if claims.namespace != request.namespace.as_str() || claims.repository != request.repository.as_str() {
            return Ok(Err(TokenError::Invalid.into()));
        }
        let own = &self.settings().region;
        peer.admit(own, &claims.account, &claims.namespace)?;
        if let Err(error) = self.trust.use_region_token(&claims).await? {
            return Ok(Err(error));
        }
        let region = peer.settings.id.clone();
        let user = self.catalog().find_user(&claims.account, &claims.user).await?.filter(|user| user.enabled);
        let Some(user) = user else {
            return Err(ServiceError::Denied(format!(
                "account {} has no enabled user {} in region {own}; make the same account and user there",
                claims.account, claims.user,
            )));
        };
        if user.is_admin && !peer.settings.administrators {
            return Err(ServiceError::Denied(format!(
                "user {} is an administrator in region {own}, which takes none from region {region}; ask as an ordinary \
                 user with write permission (3) on organization {}, or have administrators = true set in the [[peer]] there",
                claims.user, claims.namespace
            )));
        }
        let principal = Principal::from(user);
        let target = RepositoryName::new(request.namespace.clone(), request.repository.clone());
        let namespace_id = self.content.pushable_namespace(&principal, &target).await?;
        let issued = self.identity.issue_peer_token(principal, region, &target, namespace_id);
        Ok(Ok(TokenReply { expires_in: issued.life_seconds(), token: issued.token }))
    }

    /// Answers another region that asks what an image lacks here. Mounts blobs that the user may read elsewhere.
    pub async fn answer_prepare(
        &self,
        grant: &Arc<Grant>,
        request: &PrepareRequest,
    ) -> Result<PrepareReply, ServiceError> {
        let target = RepositoryName::new(request.namespace.clone(), request.repository.clone());
        let push = grant.authorize::<Push>(&target);
        let push = push.and_then(|push| Some((push, push.principal()?)));
        let peer = grant.via.as_ref().and_then(|via| self.trust.peer(via.as_str()));
        let Some(((push, principal), peer)) = push.zip(peer) else {
            return Err(ServiceError::Denied(format!("the token was not given to a region for a copy to {target}")));
        };
        let attributes = RepositoryAttributes {
            is_public: false,
            category: request.category.clone(),
            description: request.description.clone(),
        };
        attributes.check()?;
        at_most("blobs", request.blobs.len(), MAX_PREPARE_BLOBS)?;
        at_most("manifests", request.manifests.len(), MAX_PREPARE_MANIFESTS)?;
        at_most("attached tags", request.attached.len(), MAX_PREPARE_ATTACHED)?;
        let found = self.catalog().find_repository(&target).await?;
        if let Some(repository) = &found {
            push.require(repository.namespace_id)?;
        }
        let repository = match found {
            Some(repository) => repository,
            None => self.content.ensure_granted_repository(principal, push, attributes).await?,
        };
        // This also runs if the tag is already right: any part of the image may be gone, or new.
        let mut tags = request.attached.clone();
        tags.push(request.tag.clone());
        let mut attached = self.catalog().resolve_tags(repository.id, &tags).await?;
        let own = attached.iter().position(|(tag, _)| *tag == request.tag);
        let tag_digest = own.map(|own| attached.swap_remove(own).1);
        self.content.refuse_moving_immutable(repository.id, &request.tag, tag_digest.as_ref(), &request.digest).await?;
        let linked = self.catalog().find_linked(repository.id, &request.blobs).await?;
        let present: HashSet<Digest> = linked.into_iter().map(|(digest, _)| digest).collect();
        let absent: Vec<Digest> = request.blobs.iter().filter(|digest| !present.contains(*digest)).cloned().collect();
        // A peer that is limited to some organizations must not get blobs out of the others either.
        let within = (!peer.settings.namespaces.is_everything()).then_some(repository.namespace_id);
        let mounted = self.mount_readable(repository.id, within, principal, &absent).await?;
        let missing_blobs = absent.into_iter().filter(|digest| !mounted.contains(digest)).collect();
        let present: HashSet<Digest> =
            self.catalog().manifest_exists(repository.id, &request.manifests).await?.into_iter().collect();
        let missing_manifests = request.manifests.iter().filter(|digest| !present.contains(*digest)).cloned().collect();
        Ok(PrepareReply { tag_digest, missing_blobs, missing_manifests, attached })
    }

    /// Links blobs that the user may read in other repositories. Returns their digests.
    async fn mount_readable(
        &self,
        repository_id: i64,
        namespace_id: Option<i64>,
        principal: &Principal,
        digests: &[Digest],
    ) -> Result<HashSet<Digest>, ServiceError> {
        if digests.is_empty() {
            return Ok(HashSet::new());
        }
        let mounted = self
            .catalog()
            .mount_readable_from(
                namespace_id,
                repository_id,
                &principal.account_id,
                &principal.user_id,
                principal.is_admin,
                digests,
            )
            .await?;
        Ok(mounted.into_iter().collect())
    }
}

fn at_most(name: &'static str, count: usize, most: usize) -> Result<(), ServiceError> {
    if count <= most {
        return Ok(());
    }
    Err(ServiceError::InvalidParameter {
        name,
        value: format!("a list of {count} digests"),
        expected: format!("at most {most}"),
    })
}

/// The reference under which a manifest is pushed: its own digest.
pub(super) fn by_digest(digest: &Digest) -> Reference {
    Reference::Digest(digest.clone())
}
