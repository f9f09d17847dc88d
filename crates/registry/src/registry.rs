//! The handle on a region that every API holds: the region's services, and operations that concern all of them.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transship_catalog::Catalog;
use transship_store::BlobStore;

use crate::access::service::Access;
use crate::content::service::Content;
use crate::error::ServiceError;
use crate::identity::keys::Keys;
use crate::identity::service::Identity;
use crate::job_signal::JobSignal;
use crate::replication::service::Replication;
use crate::replication::trust::Trust;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::upkeep::service::Upkeep;

/// One region: its services. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    services: Arc<Services>,
}

struct Services {
    shared: Shared,
    access: Access,
    identity: Identity,
    content: Content,
    trust: Trust,
    replication: Replication,
    upkeep: Upkeep,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("region", &self.settings().region).finish_non_exhaustive()
    }
}

impl Registry {
    /// Builds the services of a region.
    ///
    /// # Errors
    /// A sentence that names the peer whose URL, key or certificate authority is invalid.
    pub fn open(settings: Settings, catalog: Catalog, store: Arc<dyn BlobStore>, keys: Keys) -> Result<Self, String> {
        let shared = Shared::new(settings, catalog, store);
        let (keys, jobs) = (Arc::new(keys), Arc::new(JobSignal::default()));
        let access = Access::new(shared.clone());
        let identity = Identity::new(shared.clone(), access.clone(), Arc::clone(&keys));
        let content = Content::new(shared.clone(), access.clone(), Arc::clone(&jobs));
        let trust = Trust::new(shared.clone(), keys)?;
        let replication =
            Replication::new(shared.clone(), access.clone(), identity.clone(), content.clone(), trust.clone(), jobs);
        let upkeep = Upkeep::new(shared.clone(), content.clone(), trust.clone());
        Ok(Self { services: Arc::new(Services { shared, access, identity, content, trust, replication, upkeep }) })
    }

    /// The service that decides who may do what.
    pub fn access(&self) -> &Access {
        &self.services.access
    }

    /// The service for accounts, logins and tokens.
    pub fn identity(&self) -> &Identity {
        &self.services.identity
    }

    /// The service for everything that is pushed, pulled, listed and deleted.
    pub fn content(&self) -> &Content {
        &self.services.content
    }

    /// The service that copies images to another place.
    pub fn replication(&self) -> &Replication {
        &self.services.replication
    }

    /// The service for the region's own maintenance.
    pub fn upkeep(&self) -> &Upkeep {
        &self.services.upkeep
    }

    /// The current settings. A caller that keeps the reference keeps the old values after a change.
    pub fn settings(&self) -> &'static Settings {
        self.services.shared.settings()
    }

    /// Replaces the settings, for everything that starts from now on.
    ///
    /// The caller makes sure that the region's id and URL are unchanged.
    ///
    /// # Errors
    /// As [`Registry::open`]; then the settings are unchanged.
    pub fn change_settings(&self, settings: Settings) -> Result<(), String> {
        let peers = self.services.trust.peers_of(&settings)?;
        self.identity().set_login_limits(settings.logins);
        self.services.trust.change_peers(peers);
        self.services.shared.change_settings(settings);
        Ok(())
    }

    /// Starts the job runner, the reaper, the collector and the scrubber.
    ///
    /// When `shutdown` is cancelled, no new job is claimed and the running jobs give back their leases.
    ///
    /// Call it before the first request is accepted: where one process owns the catalog, every earlier lease holder is
    /// dead, so this releases the leases and its jobs and upload sessions can continue.
    pub async fn start_workers(&self, shutdown: CancellationToken) -> Result<JoinHandle<()>, ServiceError> {
        self.services.shared.catalog().release_orphans().await?;
        let (replication, upkeep) = (self.replication().clone(), self.upkeep().clone());
        Ok(tokio::spawn(async move {
            let reaper = tokio::spawn(upkeep.clone().reap(shutdown.clone()));
            let collector = tokio::spawn(upkeep.clone().collect(shutdown.clone()));
            let scrubber = tokio::spawn(upkeep.scrub(shutdown.clone()));
            replication.run_jobs(shutdown).await;
            // These only sleep, read or delete, so they may be aborted at any point.
            scrubber.abort();
            reaper.abort();
            collector.abort();
        }))
    }

    /// Whether catalog and store answer.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.services.shared.catalog().probe().await.map_err(|error| NotReady::Catalog(error.to_string()))?;
        self.services.shared.store().probe().await.map_err(|error| NotReady::Store(error.to_string()))
    }
}

/// The part of a region that does not answer, and why.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotReady {
    /// The catalog.
    #[error("catalog: {0}")]
    Catalog(String),
    /// The store.
    #[error("store: {0}")]
    Store(String),
}

/// Access to internals for tests only.
#[cfg(test)]
impl Registry {
    pub(crate) fn catalog(&self) -> &Catalog {
        self.services.shared.catalog()
    }

    pub(crate) fn keys(&self) -> &Keys {
        self.identity().keys()
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.services.trust
    }
}
