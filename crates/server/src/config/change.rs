//! The changes that a reload of the file makes in a running process.
//!
//! Owns: which settings may change without a restart. Never: changing anything.

use super::{Config, PeerConfig};

/// The difference between the configuration of a running process and its file.
#[derive(Debug)]
pub struct Change {
    /// The running configuration with all changes that can be taken over.
    pub config: Config,
    /// The changes that are taken over: sections, and each `[[peer]]` by its id.
    pub taken_over: Vec<String>,
    /// The changes that take effect only after a restart: sections, and single keys of `[region]`.
    pub needs_restart: Vec<&'static str>,
}

impl Config {
    /// Returns what changes if the file says `new`. `[bootstrap]` is left out: it matters only while there is no
    /// account.
    #[must_use]
    pub fn change_to(&self, new: Self) -> Change {
        // The file was checked with the addresses in it. This process keeps its own, and an open region is for loopback
        // only.
        let listeners = [Some(self.listen), self.listen_tls];
        let exposed = new.access.open
            && listeners.into_iter().flatten().any(|address| !address.ip().to_canonical().is_loopback());
        let mut taken_over = changed_peers(&self.peers, &new.peers);
        for (section, differs) in [
            ("access", self.access != new.access && !exposed),
            ("limits", self.limits != new.limits),
            // Changes together with the limits: its grace must not be shorter than the life of an upload session.
            ("collection", self.collection != new.collection),
            ("log", self.log != new.log),
            ("tls", self.tls.is_some() && new.tls.is_some() && self.tls != new.tls),
        ] {
            if differs {
                taken_over.push(section.to_owned());
            }
        }
        let needs_restart = [
            ("region.id", self.region != new.region),
            ("region.listen", self.listen != new.listen),
            ("region.listen_tls", self.listen_tls != new.listen_tls),
            ("region.public_url", self.public_url != new.public_url),
            ("region.data_dir", self.data_dir != new.data_dir),
            ("region.allow_shared_data_dir", self.allow_shared_data_dir != new.allow_shared_data_dir),
            ("access", exposed),
            ("catalog", self.catalog_url != new.catalog_url),
            ("replication", self.replication != new.replication),
            ("registry", self.registry != new.registry),
            ("scrub", self.scrub != new.scrub),
            ("tokens", self.tokens != new.tokens),
        ];
        let needs_restart = needs_restart.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let config = Self {
            access: if exposed { self.access } else { new.access },
            limits: new.limits,
            collection: new.collection,
            log: new.log,
            tls: if self.tls.is_some() && new.tls.is_some() { new.tls } else { self.tls.clone() },
            peers: new.peers,
            ..self.clone()
        };
        Change { config, taken_over, needs_restart }
    }
}

fn changed_peers(old: &[PeerConfig], new: &[PeerConfig]) -> Vec<String> {
    let find = |peers: &[PeerConfig], id| peers.iter().find(|peer| peer.id == id).cloned();
    let gone = old.iter().filter(|peer| find(new, peer.id.clone()).is_none());
    let changed = new.iter().filter(|peer| find(old, peer.id.clone()).as_ref() != Some(*peer));
    gone.chain(changed).map(|peer| format!("peer {}", peer.id)).collect()
}
