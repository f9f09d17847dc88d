//! A whole region for tests: SQLite in a temporary folder, blobs in memory, an account with an administrator.

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::json;
use transship_catalog::Catalog;
use transship_oci::{Action, Digest, DigestAlgorithm, NamespaceName, Reference, RepositoryName, Scope, media};
use transship_store::{BlobStore, MemoryStore};

use crate::access::policy::Principal;
use crate::access::proof::{Authorized, Delete, Pull, Push};
use crate::access::token_grant::Grant;
use crate::content::manifests::{ManifestPush, PushCondition, Pushed};
use crate::error::ServiceError;
use crate::identity::keys::Keys;
use crate::identity::logins::Bootstrap;
use crate::registry::Registry;
use crate::settings::LoginLimits;
use crate::settings::{Collection, Peer, Settings};

pub(crate) struct TestRegion {
    pub(crate) registry: Registry,
    pub(crate) admin: Principal,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) catalog_url: String,
    _dir: tempfile::TempDir,
}

pub(crate) fn settings(region: &str) -> Settings {
    Settings {
        region: region.parse().unwrap(),
        public_url: format!("http://{region}.example.test"),
        registry_host: format!("{region}.example.test"),
        service: "dockyard".to_owned(),
        namespaces_per_account: 5,
        quotas: transship_catalog::Quotas::default(),
        scrub: crate::settings::ScrubSettings::default(),
        registry_token_seconds: 300,
        refresh_token_seconds: 86_400,
        iam_token_seconds: 86_400,
        login_seconds: 86_400,
        logins_per_user: 1000,
        sync_wait: Duration::from_secs(20),
        sync_max_tags: 1000,
        max_open_jobs_per_account: 10_000,
        job_timeout: Duration::from_hours(1),
        max_attempts: 20,
        slots_per_region: 4,
        blobs_in_parallel: 4,
        upload_expiry: Duration::from_hours(1),
        upload_sessions_per_user: 1000,
        logins: LoginLimits { failures: 10, failures_per_address: 100 },
        copy_referrers: true,
        job_retention: Duration::from_hours(24),
        access: crate::settings::AccessSettings { anonymous_pull: true, open: false },
        sparse_indexes: false,
        collection: Collection {
            interval: Duration::from_hours(1),
            unlink_grace: Duration::ZERO,
            sweep_grace: Duration::ZERO,
            pause: Duration::ZERO,
        },
        peers: Vec::new(),
    }
}

impl TestRegion {
    pub(crate) async fn start(region: &str) -> Self {
        Self::start_with(settings(region)).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        Self::start_on(settings, |store| store).await
    }

    /// Starts a region whose store is the result of `wrap` on the in-memory store.
    pub(crate) async fn start_on(
        settings: Settings,
        wrap: impl FnOnce(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("catalog.db").display());
        let catalog = Catalog::open(&url).await.unwrap();
        let store = Arc::new(MemoryStore::default());
        let keys = Keys::load_or_create(dir.path()).unwrap();
        let blobs = wrap(Arc::clone(&store) as Arc<dyn BlobStore>);
        let registry = Registry::open(settings, catalog, blobs, keys).unwrap();
        let bootstrap = Bootstrap {
            account: "demo".to_owned(),
            user: "admin".to_owned(),
            password: "a password".to_owned(),
            access_key: Some(("AK1".to_owned(), "SK1".to_owned())),
        };
        assert!(registry.identity().bootstrap(bootstrap.clone()).await.unwrap());
        assert!(!registry.identity().bootstrap(bootstrap).await.unwrap(), "only the first account is made this way");
        let proved = registry
            .identity()
            .authenticate_password(Ipv4Addr::LOCALHOST.into(), "demo", "admin", "a password")
            .await
            .unwrap()
            .unwrap();
        Self { registry, admin: proved.principal, store, catalog_url: url, _dir: dir }
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let name: NamespaceName = name.parse().unwrap();
        self.registry.content().create_namespace(&self.admin, &name).await.unwrap();
    }

    /// A user of the account without any level.
    pub(crate) async fn user(&self, name: &str) -> Principal {
        self.registry.identity().create_user("demo", name, None, false).await.unwrap().into()
    }

    /// The grant of a token that asked for everything.
    pub(crate) async fn grant(&self, principal: &Principal, name: &RepositoryName) -> Arc<Grant> {
        let scope = Scope::repository(name, &[Action::All]);
        let issued = self.registry.identity().issue_registry_token(Some(principal), &[scope]).await.unwrap();
        self.registry.identity().verify_registry_token(&issued.token).unwrap()
    }

    pub(crate) async fn push_blob(&self, name: &RepositoryName, content: &[u8]) -> Digest {
        let grant = self.grant(&self.admin, name).await;
        let digest = Digest::of(DigestAlgorithm::Sha256, content);
        let status = self.registry.content().start_upload(push(&grant, name), DigestAlgorithm::Sha256).await.unwrap();
        let body = body(&[content]);
        self.registry
            .content()
            .finish_upload(push(&grant, name), &status.session, None, body, digest.clone())
            .await
            .unwrap();
        digest
    }

    /// Pushes an image of one layer under a tag.
    pub(crate) async fn push_image(&self, name: &RepositoryName, tag: &str, layer: &[u8]) -> Digest {
        let config = format!("{{\"made for\":\"{tag}\"}}");
        let config_digest = self.push_blob(name, config.as_bytes()).await;
        let layer_digest = self.push_blob(name, layer).await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "config": {"mediaType": media::OCI_CONFIG, "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": media::OCI_LAYER, "digest": layer_digest, "size": layer.len()}],
        });
        self.push_manifest(name, tag, &manifest).await.unwrap().digest
    }

    pub(crate) async fn push_manifest(
        &self,
        name: &RepositoryName,
        reference: &str,
        manifest: &serde_json::Value,
    ) -> Result<Pushed, ServiceError> {
        let grant = self.grant(&self.admin, name).await;
        let manifest = ManifestPush {
            reference: reference.parse::<Reference>().unwrap(),
            tags: Vec::new(),
            content_type: None,
            raw: Bytes::from(serde_json::to_vec(manifest).unwrap()),
            condition: PushCondition::Always,
        };
        self.registry.content().push_manifest(push(&grant, name), manifest).await
    }

    pub(crate) async fn read_blob(&self, name: &RepositoryName, digest: &Digest) -> Vec<u8> {
        let blob = self.registry.content().find_blob(pull(name), digest).await.unwrap();
        let mut stream = self.registry.content().read_blob(&blob, None).await.unwrap();
        let mut content = Vec::new();
        while let Some(piece) = stream.next().await {
            content.extend_from_slice(&piece.unwrap());
        }
        content
    }

    /// This region as a peer entry of another region.
    pub(crate) fn as_peer(&self, url: &str) -> Peer {
        Peer {
            id: self.registry.settings().region.clone(),
            url: url.to_owned(),
            public_keys: vec![self.registry.keys().region_public_key()],
            ca_pem: None,
            repair: true,
            accept: true,
            accounts: crate::name_patterns::NamePatterns::default(),
            namespaces: crate::name_patterns::NamePatterns::default(),
            administrators: true,
        }
    }
}

pub(crate) fn body(frames: &[&[u8]]) -> crate::content::upload_body::Body {
    let frames: Vec<Result<Bytes, String>> = frames.iter().map(|frame| Ok(Bytes::copy_from_slice(frame))).collect();
    crate::content::upload_body::Body::new(futures::stream::iter(frames), None)
}

pub(crate) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// A grant that allows everything.
fn everything() -> &'static Arc<Grant> {
    static GRANT: LazyLock<Arc<Grant>> = LazyLock::new(|| Arc::new(Grant::of_open_region(Principal::nobody())));
    &GRANT
}

/// The right to read a repository, without a token.
pub(crate) fn pull(name: &RepositoryName) -> Authorized<'_, Pull> {
    everything().authorize(name).unwrap()
}

/// The right to delete from a repository, without a token.
pub(crate) fn delete(name: &RepositoryName) -> Authorized<'_, Delete> {
    everything().authorize(name).unwrap()
}

/// The right of this grant to write a repository.
pub(crate) fn push<'a>(grant: &'a Arc<Grant>, name: &'a RepositoryName) -> Authorized<'a, Push> {
    grant.authorize(name).unwrap()
}
