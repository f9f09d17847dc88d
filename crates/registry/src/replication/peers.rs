//! What this region knows of the others: how to reach each, the keys with which it proves itself, and what it may ask
//! for here.
//!
//! Owns: everything made of `[[peer]]`. It is built as a whole, so that it can be replaced as a whole. Never: what a
//! user may do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::DecodingKey;
use transship_client::peer::PeerClient;
use transship_oci::RegionId;

use crate::error::ServiceError;
use crate::identity::fingerprint::{decode_public_key, fingerprint};
use crate::identity::tokens::now_seconds;
use crate::settings::Peer;

/// Minimum interval between two log lines about keys that are not pinned: anybody can send a token.
const COMPLAINT_PAUSE_SECONDS: u64 = 10;

/// Every configured peer.
#[derive(Default)]
pub(crate) struct Peers(HashMap<RegionId, Arc<KnownPeer>>);

/// A configured peer.
pub(crate) struct KnownPeer {
    pub(crate) settings: Peer,
    pub(crate) client: PeerClient,
    /// Its pinned keys.
    pub(crate) keys: Vec<PinnedKey>,
    /// When a key that is not pinned was last logged, in seconds since 1970.
    complained_at_seconds: AtomicU64,
}

/// A pinned key.
pub(crate) struct PinnedKey {
    pub(crate) bytes: Vec<u8>,
    pub(crate) verifying: DecodingKey,
}

impl Peers {
    /// Builds the peers; `own_key` is the public key of this region. A peer that is reached as in `before` keeps its
    /// client.
    ///
    /// # Errors
    /// A sentence naming the peer whose URL, key or certificate authority cannot be used.
    pub(crate) fn new(peers: &[Peer], own_key: &str, before: Option<&Self>) -> Result<Self, String> {
        let mut known: HashMap<RegionId, Arc<KnownPeer>> = HashMap::new();
        for peer in peers {
            let mut keys = Vec::with_capacity(peer.public_keys.len());
            for text in &peer.public_keys {
                let bytes = decode_public_key(text)
                    .ok_or_else(|| format!("peer {}: public_key is not the base64 of 32 bytes", peer.id))?;
                if decode_public_key(own_key).as_ref() == Some(&bytes) {
                    return Err(format!(
                        "peer {}: public_key is the key of this region itself; run `transship region-key` in {} and write its key here",
                        peer.id, peer.id
                    ));
                }
                if let Some(other) = known.values().find(|other| other.has_key(&bytes)) {
                    return Err(format!(
                        "peer {}: public_key is a key of peer {} too; each region has a key of its own, which `transship region-key` prints there",
                        peer.id, other.settings.id
                    ));
                }
                keys.push(PinnedKey { verifying: DecodingKey::from_ed_der(&bytes), bytes });
            }
            if keys.is_empty() {
                return Err(format!("peer {}: no public_key is given", peer.id));
            }
            let same = before.and_then(|before| before.0.get(&peer.id)).filter(|known| {
                let Peer { url, ca_pem, .. } = &known.settings;
                *url == peer.url && *ca_pem == peer.ca_pem
            });
            let client = match same {
                Some(known) => known.client.clone(),
                None => PeerClient::new(&peer.url, peer.ca_pem.as_deref())
                    .map_err(|error| format!("peer {}: {error}", peer.id))?,
            };
            let peer = KnownPeer { settings: peer.clone(), client, keys, complained_at_seconds: AtomicU64::new(0) };
            known.insert(peer.settings.id.clone(), Arc::new(peer));
        }
        Ok(Self(known))
    }

    pub(crate) fn get(&self, region: &str) -> Option<&Arc<KnownPeer>> {
        // Ids are checked where they are written, but a token may name anything.
        self.0.get(&region.parse::<RegionId>().ok()?)
    }
}

impl KnownPeer {
    pub(crate) fn has_key(&self, bytes: &[u8]) -> bool {
        self.keys.iter().any(|key| key.bytes == bytes)
    }

    /// Refuses what this region's operator does not allow the peer, with sentences for the peer's operator.
    pub(crate) fn admit(&self, own: &RegionId, account: &str, namespace: &str) -> Result<(), ServiceError> {
        let Peer { id, accept, accounts, namespaces, .. } = &self.settings;
        let setting = |what: &str| {
            Err(ServiceError::Denied(format!(
                "region {own} takes {what} from region {id}, by the [[peer]] entry there"
            )))
        };
        if !accept {
            return setting("nothing (accept = false)");
        }
        if !accounts.matches(account) {
            return setting(&format!("nothing of account {account} (accounts)"));
        }
        if !namespaces.matches(namespace) {
            return setting(&format!("nothing for organization {namespace} (namespaces)"));
        }
        Ok(())
    }

    /// Logs that somebody signs in the peer's name with another key, unless it was just logged.
    pub(crate) fn complain_of_key(&self, seen: &str) {
        let (now, last) = (now_seconds(), self.complained_at_seconds.load(Ordering::Relaxed));
        let is_due = now >= last.saturating_add(COMPLAINT_PAUSE_SECONDS);
        let at = &self.complained_at_seconds;
        if !is_due || at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let pinned: Vec<String> = self.keys.iter().map(|key| fingerprint(&key.bytes)).collect();
        let region = &self.settings.id;
        tracing::warn!(
            peer = %region,
            "refused a token signed by a key that is not pinned for region {region}: fingerprint {seen}, pinned {}; \
             if the key was replaced there, public_key of this peer must name the new one",
            pinned.join(" and ")
        );
    }
}

/// Checks that a region would start with these peers; `own_key` is its public key, if it has one yet.
///
/// # Errors
/// A sentence naming the peer whose URL, key or certificate authority cannot be used.
pub fn check_peers(peers: &[Peer], own_key: Option<&str>) -> Result<(), String> {
    Peers::new(peers, own_key.unwrap_or_default(), None).map(|_| ())
}

/// Checks that a region answers at a peer's URL; the error says why not.
///
/// # Errors
/// If it cannot be reached, or something else answers there.
pub async fn peer_answers(url: &str, ca_pem: Option<&[u8]>) -> Result<(), String> {
    let client = PeerClient::new(url, ca_pem).map_err(|error| error.to_string())?;
    client.probe().await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::name_patterns::NamePatterns;

    fn key(byte: u8) -> String {
        BASE64.encode([byte; 32])
    }

    fn peer(id: &str, keys: &[String]) -> Peer {
        Peer {
            id: id.parse().unwrap(),
            url: "http://127.0.0.1:9".to_owned(),
            public_keys: keys.to_vec(),
            ca_pem: None,
            repair: true,
            accept: true,
            accounts: NamePatterns::default(),
            namespaces: NamePatterns::default(),
            administrators: false,
        }
    }

    #[test]
    fn the_own_key_and_a_key_twice_are_refused() {
        let open = |peers: &[Peer]| Peers::new(peers, &key(1), None).map(|_| ());
        assert_eq!(open(&[peer("b", &[key(2), key(3)]), peer("c", &[key(4)])]), Ok(()));
        let own = open(&[peer("b", &[key(2), key(1)])]).unwrap_err();
        assert!(own.starts_with("peer b: public_key is the key of this region itself"), "{own}");
        let twice = open(&[peer("b", &[key(2)]), peer("c", &[key(3), key(2)])]).unwrap_err();
        assert!(twice.starts_with("peer c: public_key is a key of peer b too"), "{twice}");
        assert!(open(&[peer("b", &[])]).unwrap_err().contains("no public_key"));
        assert!(check_peers(&[peer("b", &[key(1)])], None).is_ok(), "a region without a key is nobody yet");
        assert!(check_peers(&[peer("b", &[key(1)])], Some(&key(1))).is_err());
    }

    #[test]
    fn a_peer_may_do_what_its_entry_says() {
        let own: RegionId = "a".parse().unwrap();
        let patterns = |text: &str| NamePatterns::new(vec![text.to_owned()]).unwrap();
        let mut settings = peer("b", &[key(2)]);
        settings.accounts = patterns("acme*");
        settings.namespaces = patterns("team-?");
        let admit = |settings: &Peer, account: &str, namespace: &str| {
            let peers = Peers::new(std::slice::from_ref(settings), &key(1), None).unwrap();
            peers.get("b").unwrap().admit(&own, account, namespace).map_err(|error| error.to_string())
        };
        assert_eq!(admit(&settings, "acme-corp", "team-x"), Ok(()));
        assert!(admit(&settings, "other", "team-x").unwrap_err().contains("nothing of account other (accounts)"));
        assert!(admit(&settings, "acme", "team-xy").unwrap_err().contains("nothing for organization team-xy"));
        settings.accept = false;
        assert!(admit(&settings, "acme", "team-x").unwrap_err().contains("accept = false"));
    }
}
