//! The handle on a region that every API holds.

use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transship_catalog::{Catalog, Pulled};
use transship_client::peer::PeerClient;
use transship_oci::RegionId;
use transship_store::BlobStore;

use crate::access::policy::Principal;
use crate::content::blob_content::BlobContent;
use crate::content::large_pages::Rooms;
use crate::content::made_indexes::MadeIndexes;
use crate::content::stored_manifest::StoredManifest;
use crate::error::ServiceError;
use crate::identity::keys::Keys;
use crate::identity::passwords::Passwords;
use crate::identity::throttle::Throttle;
use crate::identity::tokens::VerifiedTokens;
use crate::job_signal::JobSignal;
use crate::pull_cache::PullCache;
use crate::replication::copy::Flights;
use crate::replication::peers::{KnownPeer, Peers};
use crate::settings::Settings;

/// Manifests are small (a few KiB) and asked for again and again; this holds thousands of them.
const MANIFEST_CACHE_BYTES: u64 = 8 << 20;
/// What is known of blobs is smaller still.
const BLOB_CACHE_BYTES: u64 = 4 << 20;
/// In whose name everybody acts in an open region.
const ONE_ENTRY_BYTES: u64 = 4 << 10;

/// One region: its facts, its bytes, its keys and its peers. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    /// Never freed: references to it are handed out for as long as their holder likes, and it changes only when an operator says so.
    /// A few KiB for each change.
    current: RwLock<&'static Current>,
    catalog: Catalog,
    store: Arc<dyn BlobStore>,
    keys: Keys,
    jobs: JobSignal,
    flights: Flights,
    passwords: Passwords,
    throttle: Throttle,
    made_indexes: MadeIndexes,
    rooms: Rooms,
    manifests: PullCache<Pulled<Arc<StoredManifest>>>,
    blobs: PullCache<Pulled<Arc<BlobContent>>>,
    open_principal: PullCache<Principal>,
    verified_tokens: VerifiedTokens,
}

/// What an operator may change while the process runs.
struct Current {
    settings: Settings,
    peers: Peers,
}

impl Current {
    /// Takes the clients of peers over from `before` that are reached as before.
    fn new(settings: Settings, own_key: &str, before: Option<&Self>) -> Result<Self, String> {
        let peers = Peers::new(&settings.peers, own_key, before.map(|before| &before.peers))?;
        Ok(Self { settings, peers })
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("region", &self.settings().region).finish_non_exhaustive()
    }
}

/// The project of an account in this region (contract 7.1: its name is the region id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// 32 hex digits, the same as long as the account exists.
    pub id: String,
    /// The region id.
    pub name: String,
}

impl Registry {
    /// Puts a region together.
    ///
    /// # Errors
    /// A sentence naming the peer whose URL, key or certificate authority cannot be used.
    pub fn open(settings: Settings, catalog: Catalog, store: Arc<dyn BlobStore>, keys: Keys) -> Result<Self, String> {
        let current: &'static Current = Box::leak(Box::new(Current::new(settings, &keys.region_public_key(), None)?));
        let throttle = Throttle::new(current.settings.logins);
        Ok(Self {
            inner: Arc::new(Inner {
                catalog: catalog.with_quotas(current.settings.quotas),
                current: RwLock::new(current),
                store,
                keys,
                jobs: JobSignal::default(),
                flights: Flights::default(),
                passwords: Passwords::default(),
                throttle,
                made_indexes: MadeIndexes::default(),
                rooms: Rooms::default(),
                manifests: PullCache::new(MANIFEST_CACHE_BYTES, |pulled: &Pulled<Arc<StoredManifest>>| {
                    pulled.content.raw.len()
                }),
                blobs: PullCache::new(BLOB_CACHE_BYTES, |_: &Pulled<Arc<BlobContent>>| 0),
                open_principal: PullCache::new(ONE_ENTRY_BYTES, |_: &Principal| 0),
                verified_tokens: VerifiedTokens::default(),
            }),
        })
    }

    /// What the operator decided, as it is now: whoever keeps the reference goes on with what held then.
    pub fn settings(&self) -> &'static Settings {
        &self.current().settings
    }

    /// Takes other settings over, for everything that begins from now on. The region's id and its URL stay what they were: the caller
    /// sees to that.
    ///
    /// # Errors
    /// As [`Registry::open`]; then nothing has changed.
    pub fn change_settings(&self, settings: Settings) -> Result<(), String> {
        let changed = Current::new(settings, &self.keys().region_public_key(), Some(self.current()))?;
        self.throttle().set_limits(changed.settings.logins);
        self.catalog().set_quotas_by_default(changed.settings.quotas);
        *self.inner.current.write().unwrap_or_else(PoisonError::into_inner) = Box::leak(Box::new(changed));
        Ok(())
    }

    fn current(&self) -> &'static Current {
        *self.inner.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the job runner, the reaper and the collector. When `shutdown` is cancelled no new job is claimed, and the leases of those
    /// that run are given back.
    ///
    /// To be called before the first request is taken: where one process owns the catalog, whoever held a lease before it
    /// started is dead, and its jobs and upload sessions go on now.
    pub async fn start_workers(&self, shutdown: CancellationToken) -> Result<JoinHandle<()>, ServiceError> {
        self.catalog().release_orphans().await?;
        let registry = self.clone();
        Ok(tokio::spawn(async move {
            let reaper = tokio::spawn(registry.clone().reap(shutdown.clone()));
            let collector = tokio::spawn(registry.clone().collect(shutdown.clone()));
            let scrubber = tokio::spawn(registry.clone().scrub(shutdown.clone()));
            registry.run_jobs(shutdown).await;
            // These only sleep, read or delete; either may be cut short.
            scrubber.abort();
            reaper.abort();
            collector.abort();
        }))
    }

    /// Whether catalog and store answer; the error says which does not.
    pub async fn ready(&self) -> Result<(), String> {
        self.catalog().probe().await.map_err(|error| format!("catalog: {error}"))?;
        self.store().probe().await.map_err(|error| format!("store: {error}"))
    }

    /// The key file that was replaced since this process read it, if one was.
    pub async fn replaced_key(&self) -> Result<Option<&'static str>, ServiceError> {
        for (name, check) in self.keys().checks() {
            if self.catalog().key_check(name).await?.is_some_and(|noted| noted != check) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The project of a caller.
    pub fn project_of(&self, principal: &Principal) -> Project {
        let region = &self.settings().region;
        let hash = Sha256::digest(format!("project {} {region}", principal.account_id));
        Project { id: hex::encode(&hash[..16]), name: region.to_string() }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlobStore> {
        &self.inner.store
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn peer_client(&self, region: &RegionId) -> Option<&PeerClient> {
        self.current().peers.get(region.as_str()).map(|peer| &peer.client)
    }

    /// A configured peer, by what may be its id.
    pub(crate) fn peer(&self, region: &str) -> Option<Arc<KnownPeer>> {
        self.current().peers.get(region).cloned()
    }

    pub(crate) fn jobs(&self) -> &JobSignal {
        &self.inner.jobs
    }

    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    pub(crate) fn made_indexes(&self) -> &MadeIndexes {
        &self.inner.made_indexes
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(crate) fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    pub(crate) fn manifest_cache(&self) -> &PullCache<Pulled<Arc<StoredManifest>>> {
        &self.inner.manifests
    }

    pub(crate) fn open_principal_cache(&self) -> &PullCache<Principal> {
        &self.inner.open_principal
    }

    pub(crate) fn verified_tokens(&self) -> &VerifiedTokens {
        &self.inner.verified_tokens
    }

    pub(crate) fn blob_cache(&self) -> &PullCache<Pulled<Arc<BlobContent>>> {
        &self.inner.blobs
    }
}
