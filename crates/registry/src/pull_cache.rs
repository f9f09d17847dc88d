//! Answers to pulls that are still true, and how that is known.
//!
//! An answer is kept with the version of the catalog from before it was read, and given only while the catalog still has
//! that version: a commit, by whoever, makes every answer be asked for again. So nothing is ever stale, no writer has to
//! remember what it invalidates, and on a database without a cheap version nothing is kept at all.
//!
//! Owns: the answers. Never: who may see them, which is decided before.

use std::sync::Arc;

use moka::sync::Cache;
use transship_catalog::{Catalog, Version};

use crate::error::ServiceError;

/// Answers of one kind.
pub(crate) struct PullCache<V> {
    answers: Cache<Box<str>, (Version, Arc<V>)>,
}

impl<V: Send + Sync + 'static> PullCache<V> {
    /// A cache that holds so many bytes, as `weigh` counts them.
    pub(crate) fn new(most_bytes: u64, weigh: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        #[expect(clippy::borrowed_box, reason = "a weigher gets the key as the cache holds it")]
        let weigher = move |key: &Box<str>, (_, value): &(Version, Arc<V>)| {
            u32::try_from(key.len() + weigh(value) + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self { answers: Cache::builder().max_capacity(most_bytes).weigher(weigher).build() }
    }

    /// The answer that is kept under `key` if it still holds, else the one that `ask` finds.
    pub(crate) async fn get(
        &self,
        catalog: &Catalog,
        key: &str,
        ask: impl AsyncFnOnce() -> Result<V, ServiceError>,
    ) -> Result<Arc<V>, ServiceError> {
        let Some(version) = catalog.version() else { return ask().await.map(Arc::new) };
        if let Some((known, answer)) = self.answers.get(key)
            && known == version
        {
            return Ok(answer);
        }
        let answer = Arc::new(ask().await?);
        self.answers.insert(key.into(), (version, Arc::clone(&answer)));
        Ok(answer)
    }
}

/// What an entry costs beside its key and its value, roughly: the cache's own records and the version.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests;
