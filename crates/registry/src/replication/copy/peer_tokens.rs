//! Registry tokens of a user for a repository of another region, renewed before they expire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use transship_client::{ClientError, TokenSource};
use transship_oci::{RegionId, RepositoryName};

use crate::access::policy::Principal;
use crate::replication::trust::Trust;

/// A registry token is not used in its last seconds: the request must arrive before the token expires.
const TOKEN_MARGIN: Duration = Duration::from_secs(20);

/// Maximum lifetime that is accepted for a peer's token: the lifetime that this region gives its own.
const MAX_TOKEN_LIFE: Duration = Duration::from_mins(5);

/// How long the tokens of a user are kept after their last use. A token lives for minutes.
const KEPT: Duration = Duration::from_mins(10);
/// Maximum number of pairs of user and target repository with tokens.
const MOST_KNOWN: u64 = 1_000;

/// Registry tokens of one user for one repository of another region, renewed before they expire.
pub(crate) struct PeerTokens {
    trust: Trust,
    principal: Principal,
    region: RegionId,
    target: RepositoryName,
    current: Mutex<Option<(String, Instant)>>,
}

impl PeerTokens {
    pub(crate) fn new(trust: &Trust, principal: &Principal, region: &RegionId, target: &RepositoryName) -> Self {
        Self {
            trust: trust.clone(),
            principal: principal.clone(),
            region: region.clone(),
            target: target.clone(),
            current: Mutex::new(None),
        }
    }

    /// Returns a token that is valid for a while; always a new one if `fresh`.
    pub(crate) async fn get(&self, fresh: bool) -> Result<String, ClientError> {
        // The lock is held while a token is fetched, so that many blobs at once fetch only one.
        let mut current = self.current.lock().await;
        if let Some((token, usable_until)) = &*current
            && !fresh
            && Instant::now() < *usable_until
        {
            return Ok(token.clone());
        }
        let asked_at = Instant::now();
        let reply = self.trust.fetch_peer_token(&self.principal, &self.region, &self.target).await?;
        *current = Some((reply.token.clone(), asked_at + usable_for(reply.expires_in)));
        Ok(reply.token)
    }
}

/// How long to use a token, given the lifetime that its peer claims. A peer may claim anything.
fn usable_for(expires_in_seconds: u64) -> Duration {
    Duration::from_secs(expires_in_seconds).min(MAX_TOKEN_LIFE).saturating_sub(TOKEN_MARGIN)
}

#[async_trait]
impl TokenSource for PeerTokens {
    async fn token(&self, repository: &RepositoryName, fresh: bool) -> Result<String, ClientError> {
        if *repository != self.target {
            return Err(ClientError::permanent("peer token", format!("{repository} is not what the token is for")));
        }
        self.get(fresh).await
    }
}

/// The tokens of users for their target repositories, shared by all jobs.
pub(crate) struct KnownTokens {
    tokens: moka::future::Cache<String, Arc<PeerTokens>>,
}

impl Default for KnownTokens {
    fn default() -> Self {
        Self { tokens: moka::future::Cache::builder().max_capacity(MOST_KNOWN).time_to_idle(KEPT).build() }
    }
}

impl KnownTokens {
    /// Returns the tokens under a key, and makes them if there are none yet.
    pub(crate) async fn get(&self, key: String, make: impl FnOnce() -> PeerTokens) -> Arc<PeerTokens> {
        self.tokens.get_with(key, async { Arc::new(make()) }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_not_believed_that_its_token_lives_for_ever() {
        assert_eq!(usable_for(100), Duration::from_secs(80));
        assert_eq!(usable_for(5), Duration::ZERO);
        assert_eq!(usable_for(u64::MAX), Duration::from_secs(280));
    }
}
