//! A cache of verified registry tokens, so that a client's later requests do not verify the signature again.
//!
//! The cache compares the whole token, and the signing keys do not change while the process lives. An entry counts only
//! between the token's own start and end. Outside that time, and for every token not in the cache, the full check
//! decides.
//!
//! Owns: the entries. Never: whether a token is valid.

use std::sync::Arc;

use moka::sync::Cache;

use super::verify::{LEEWAY_SECONDS, now_seconds};
use crate::access::token_grant::Grant;

/// Maximum size of all entries.
const MOST_BYTES: u64 = 1 << 20;
/// Size of an entry beside the token's bytes (counted twice, since the grant holds much the same): the cache's records.
const ENTRY_BYTES: usize = 512;

pub(crate) struct VerifiedTokens {
    kept: Cache<Box<str>, Verified>,
}

#[derive(Clone)]
struct Verified {
    grant: Arc<Grant>,
    issued_at_seconds: u64,
    expires_at_seconds: u64,
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        #[expect(clippy::borrowed_box, reason = "a weigher gets the key as the cache holds it")]
        let weigher = |token: &Box<str>, _: &Verified| u32::try_from(2 * token.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        Self { kept: Cache::builder().max_capacity(MOST_BYTES).weigher(weigher).build() }
    }
}

impl VerifiedTokens {
    /// The grant of a token that was verified before and is valid now.
    pub(super) fn get(&self, token: &str) -> Option<Arc<Grant>> {
        let verified = self.kept.get(token)?;
        let now = now_seconds();
        let has_begun = verified.issued_at_seconds <= now.saturating_add(LEEWAY_SECONDS);
        (has_begun && now <= verified.expires_at_seconds.saturating_add(LEEWAY_SECONDS)).then_some(verified.grant)
    }

    pub(super) fn keep(&self, token: &str, grant: &Arc<Grant>, issued_at_seconds: u64, expires_at_seconds: u64) {
        let verified = Verified { grant: Arc::clone(grant), issued_at_seconds, expires_at_seconds };
        self.kept.insert(token.into(), verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_token_counts_between_its_own_ends_only() {
        let tokens = VerifiedTokens::default();
        let grant = Arc::new(Grant::of_token(None, None, Vec::new(), std::collections::BTreeMap::new()));
        let now = now_seconds();
        tokens.keep("now", &grant, now - 300, now);
        tokens.keep("past", &grant, now - 600, now - LEEWAY_SECONDS - 5);
        tokens.keep("future", &grant, now + LEEWAY_SECONDS + 60, now + 600);
        assert!(tokens.get("now").is_some());
        assert!(tokens.get("past").is_none(), "the whole check says that it has expired");
        assert!(tokens.get("future").is_none(), "a clock that was set back");
        assert!(tokens.get("no").is_none());
        assert!(tokens.get("nowx").is_none());
    }
}
