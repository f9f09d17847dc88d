//! The handle on a region that every API holds: its services, and what concerns all of them.

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
    /// Puts a region together.
    ///
    /// # Errors
    /// A sentence naming the peer whose URL, key or certificate authority cannot be used.
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

    /// Who may do what.
    pub fn access(&self) -> &Access {
        &self.services.access
    }

    /// Who somebody is.
    pub fn identity(&self) -> &Identity {
        &self.services.identity
    }

    /// What is pushed, pulled, listed and deleted.
    pub fn content(&self) -> &Content {
        &self.services.content
    }

    /// Images that go to another place.
    pub fn replication(&self) -> &Replication {
        &self.services.replication
    }

    /// What a region does for itself.
    pub fn upkeep(&self) -> &Upkeep {
        &self.services.upkeep
    }

    /// What the operator decided, as it is now: whoever keeps the reference goes on with what held then.
    pub fn settings(&self) -> &'static Settings {
        self.services.shared.settings()
    }

    /// Takes other settings over, for everything that begins from now on. The region's id and its URL stay what they were: the caller
    /// sees to that.
    ///
    /// # Errors
    /// As [`Registry::open`]; then nothing has changed.
    pub fn change_settings(&self, settings: Settings) -> Result<(), String> {
        let peers = self.services.trust.peers_of(&settings)?;
        self.identity().set_login_limits(settings.logins);
        self.services.trust.change_peers(peers);
        self.services.shared.change_settings(settings);
        Ok(())
    }

    /// Starts the job runner, the reaper and the collector. When `shutdown` is cancelled no new job is claimed, and the leases of those
    /// that run are given back.
    ///
    /// To be called before the first request is taken: where one process owns the catalog, whoever held a lease before it
    /// started is dead, and its jobs and upload sessions go on now.
    pub async fn start_workers(&self, shutdown: CancellationToken) -> Result<JoinHandle<()>, ServiceError> {
        self.services.shared.catalog().release_orphans().await?;
        let (replication, upkeep) = (self.replication().clone(), self.upkeep().clone());
        Ok(tokio::spawn(async move {
            let reaper = tokio::spawn(upkeep.clone().reap(shutdown.clone()));
            let collector = tokio::spawn(upkeep.clone().collect(shutdown.clone()));
            let scrubber = tokio::spawn(upkeep.scrub(shutdown.clone()));
            replication.run_jobs(shutdown).await;
            // These only sleep, read or delete; either may be cut short.
            scrubber.abort();
            reaper.abort();
            collector.abort();
        }))
    }

    /// Whether catalog and store answer; the error says which does not.
    pub async fn ready(&self) -> Result<(), String> {
        self.services.shared.catalog().probe().await.map_err(|error| format!("catalog: {error}"))?;
        self.services.shared.store().probe().await.map_err(|error| format!("store: {error}"))
    }
}

/// What tests look into and no API may.
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
