//! Registry tokens that were found good, so that a client's thousandth request does not pay for their signature again.
//!
//! A token is kept by all of its bytes, under keys that live as long as the process, and only for the time between its
//! own two ends: outside of it, and for every token that is not kept, the whole check decides.
//!
//! Owns: what is kept. Never: whether a token is good.

use std::sync::Arc;

use moka::sync::Cache;

use super::verify::{LEEWAY_SECONDS, now_seconds};
use crate::access::token_grant::Grant;

/// What all kept tokens may take.
const MOST_BYTES: u64 = 1 << 20;
/// What one takes beside its own bytes: the grant, which says much the same, and the cache's records.
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
    /// The grant of a token that was found good before and still holds.
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
