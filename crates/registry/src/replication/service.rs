//! The service that copies images to another place and receives them from other regions.

use std::sync::Arc;

use transship_catalog::Catalog;
use transship_store::BlobStore;

use crate::access::service::Access;
use crate::content::service::Content;
use crate::identity::service::Identity;
use crate::job_signal::JobSignal;
use crate::replication::copy::peer_tokens::KnownTokens;
use crate::replication::copy::single_flight::SingleFlight;
use crate::replication::trust::Trust;
use crate::settings::Settings;
use crate::shared::Shared;

/// Calls of `sync_images`, jobs, and both ends of a copy. Cheap to clone.
#[derive(Clone)]
pub struct Replication {
    shared: Shared,
    pub(super) access: Access,
    pub(super) identity: Identity,
    pub(super) content: Content,
    pub(super) trust: Trust,
    jobs: Arc<JobSignal>,
    single_flight: Arc<SingleFlight>,
    known_tokens: Arc<KnownTokens>,
}

impl Replication {
    pub(crate) fn new(
        shared: Shared,
        access: Access,
        identity: Identity,
        content: Content,
        trust: Trust,
        jobs: Arc<JobSignal>,
    ) -> Self {
        Self {
            shared,
            access,
            identity,
            content,
            trust,
            jobs,
            single_flight: Arc::default(),
            known_tokens: Arc::default(),
        }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.shared.catalog()
    }

    pub(crate) fn settings(&self) -> &'static Settings {
        self.shared.settings()
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlobStore> {
        self.shared.store()
    }

    pub(super) fn jobs(&self) -> &JobSignal {
        &self.jobs
    }

    pub(super) fn known_tokens(&self) -> &KnownTokens {
        &self.known_tokens
    }

    pub(super) fn single_flight(&self) -> &SingleFlight {
        &self.single_flight
    }
}
