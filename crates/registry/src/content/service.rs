//! The service for the content of the registry.

use std::sync::Arc;

use bytes::Bytes;
use transship_catalog::{Catalog, Pulled};
use transship_store::BlobStore;

use crate::access::service::Access;
use crate::content::blob_content::BlobContent;
use crate::content::large_pages::Rooms;
use crate::content::made_indexes::MadeIndexes;
use crate::content::sending::Sending;
use crate::content::stored_manifest::StoredManifest;
use crate::job_signal::JobSignal;
use crate::pull_cache::PullCache;
use crate::settings::Settings;
use crate::shared::Shared;

/// Manifests are small (a few KiB) and requested again and again; this holds thousands of them.
const MANIFEST_CACHE_BYTES: u64 = 8 << 20;
/// Blob entries are smaller still.
const BLOB_CACHE_BYTES: u64 = 4 << 20;

/// Uploads, blobs, manifests, tags, repositories and organizations. Cheap to clone.
#[derive(Clone)]
pub struct Content {
    shared: Shared,
    pub(super) access: Access,
    inner: Arc<Inner>,
}

struct Inner {
    /// Signalled when jobs end because the image that they copy is deleted.
    jobs: Arc<JobSignal>,
    made_indexes: MadeIndexes,
    rooms: Rooms,
    sending: Sending,
    manifests: PullCache<Pulled<Arc<StoredManifest>>>,
    blobs: PullCache<Pulled<Arc<BlobContent>>>,
}

impl Content {
    pub(crate) fn new(shared: Shared, access: Access, jobs: Arc<JobSignal>) -> Self {
        let inner = Inner {
            jobs,
            made_indexes: MadeIndexes::default(),
            rooms: Rooms::default(),
            sending: Sending::default(),
            manifests: PullCache::new(MANIFEST_CACHE_BYTES, |pulled: &Pulled<Arc<StoredManifest>>| {
                pulled.content.raw.as_ref().map_or(0, Bytes::len)
            }),
            blobs: PullCache::new(BLOB_CACHE_BYTES, |_: &Pulled<Arc<BlobContent>>| 0),
        };
        Self { shared, access, inner: Arc::new(inner) }
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
        &self.inner.jobs
    }

    pub(super) fn made_indexes(&self) -> &MadeIndexes {
        &self.inner.made_indexes
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    pub(super) fn sending(&self) -> &Sending {
        &self.inner.sending
    }

    pub(super) fn manifest_cache(&self) -> &PullCache<Pulled<Arc<StoredManifest>>> {
        &self.inner.manifests
    }

    pub(super) fn blob_cache(&self) -> &PullCache<Pulled<Arc<BlobContent>>> {
        &self.inner.blobs
    }
}
