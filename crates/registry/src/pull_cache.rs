//! A cache for answers to pulls that never returns a stale answer.
//!
//! An answer is stored with the version that the catalog had before the answer was read. It is returned only while the
//! catalog still has that version: any commit, by any writer, invalidates every answer. So no answer is ever stale, and
//! no writer has to remember what it invalidates. A database without a cheap version gets no caching.
//!
//! Owns: the answers. Never: who may see them, which the caller has decided before.

use std::sync::Arc;

use moka::sync::Cache;
use transship_catalog::{Catalog, Version};

use crate::error::ServiceError;

/// A cache for answers of one kind.
pub(crate) struct PullCache<V> {
    answers: Cache<Box<str>, (Version, Arc<V>)>,
}

impl<V: Send + Sync + 'static> PullCache<V> {
    /// Creates a cache that holds at most `most_bytes`, as `weigh` counts them.
    pub(crate) fn new(most_bytes: u64, weigh: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        #[expect(clippy::borrowed_box, reason = "a weigher gets the key as the cache holds it")]
        let weigher = move |key: &Box<str>, (_, value): &(Version, Arc<V>)| {
            u32::try_from(key.len() + weigh(value) + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self { answers: Cache::builder().max_capacity(most_bytes).weigher(weigher).build() }
    }

    /// Returns the answer stored under `key` if it is still valid, otherwise the one that `ask` returns.
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

/// Rough size of an entry beside its key and value: the cache's own records and the version.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests;
