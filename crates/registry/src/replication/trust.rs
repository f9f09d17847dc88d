//! What a region and its peers accept as proof from each other.
//!
//! Owns: the peers as currently configured, and asking one for a registry token. Never: what is done with such a token.

use std::sync::{Arc, PoisonError, RwLock};

use transship_catalog::Catalog;
use transship_client::ClientError;
use transship_client::peer::{PeerClient, TokenReply, TokenRequest};
use transship_oci::{RegionId, RepositoryName};

use crate::access::policy::Principal;
use crate::identity::keys::Keys;
use crate::replication::peers::{KnownPeer, Peers};
use crate::settings::Settings;
use crate::shared::Shared;

/// This region among its peers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Trust {
    shared: Shared,
    keys: Arc<Keys>,
    /// Never freed, like the settings: a few KiB for each change.
    peers: Arc<RwLock<&'static Peers>>,
}

impl Trust {
    /// # Errors
    /// A sentence naming the peer whose URL, key or certificate authority cannot be used.
    pub(crate) fn new(shared: Shared, keys: Arc<Keys>) -> Result<Self, String> {
        let peers = Peers::new(&shared.settings().peers, &keys.region_public_key(), None)?;
        let peers: &'static Peers = Box::leak(Box::new(peers));
        Ok(Self { shared, keys, peers: Arc::new(RwLock::new(peers)) })
    }

    /// Builds the peers of other settings. A peer that is reached as before keeps its client.
    ///
    /// # Errors
    /// As [`Trust::new`].
    pub(crate) fn peers_of(&self, settings: &Settings) -> Result<Peers, String> {
        Peers::new(&settings.peers, &self.keys.region_public_key(), Some(self.peers()))
    }

    /// Replaces the peers for everything that begins from now on.
    pub(crate) fn change_peers(&self, peers: Peers) {
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Box::leak(Box::new(peers));
    }

    fn peers(&self) -> &'static Peers {
        *self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a configured peer; `region` need not be a valid id.
    pub(crate) fn peer(&self, region: &str) -> Option<Arc<KnownPeer>> {
        self.peers().get(region).cloned()
    }

    pub(crate) fn peer_client(&self, region: &RegionId) -> Option<&'static PeerClient> {
        self.peers().get(region.as_str()).map(|peer| &peer.client)
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.shared.catalog()
    }

    pub(crate) fn settings(&self) -> &'static Settings {
        self.shared.settings()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Asks another region for a registry token of this user.
    pub(crate) async fn fetch_peer_token(
        &self,
        principal: &Principal,
        region: &RegionId,
        target: &RepositoryName,
    ) -> Result<TokenReply, ClientError> {
        let peer = self.peer_client(region).ok_or_else(|| {
            ClientError::permanent("peer token", format!("region {region} is not configured here any more"))
        })?;
        let proof = self.mint_region_token(region, &principal.account_name, &principal.user_name, target);
        let request = TokenRequest { namespace: target.namespace().clone(), repository: target.repository().clone() };
        peer.token(&proof, &request).await.map_err(|error| self.explain_refused_proof(region, error))
    }

    /// Adds to a peer's refusal of this region's token what the operators must compare, and logs it.
    pub(crate) fn explain_refused_proof(&self, region: &RegionId, error: ClientError) -> ClientError {
        if error.status() != Some(401) {
            return error;
        }
        let hint = self.own_key_hint(region);
        tracing::warn!(peer = %region, "the peer does not believe this region: {error}; {hint}");
        error.explained(&hint)
    }
}
