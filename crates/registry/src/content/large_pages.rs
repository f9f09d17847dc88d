//! Room for large answers: how many bytes of manifests and other long texts may be on their way in lists at once.
//!
//! A page of a list is bounded, but many pages at once would not be, least of all to clients that read slowly. So whoever
//! makes a large page takes room for it first, and gives it back when the page has been sent.
//!
//! Owns: the room. Never: what is on a page, nor how long a client may take to read it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::error::ServiceError;

/// The most bytes of long texts on one page, unless the first has more: as many as one manifest may have.
pub(crate) const PAGE_BYTES: u64 = 4 << 20;
/// Pages up to this size need no room: they cost no more than the connection they go out on.
pub(crate) const SMALL_BYTES: u64 = 64 << 10;
/// Room in the region, in KiB: two of the largest pages. One costs up to five times its bytes while it is made.
const REGION_KIB: u32 = 8 << 10;
/// Of that, what one account may have, so that it can wait for itself but not keep others waiting: one of the largest.
const ACCOUNT_KIB: u32 = 4 << 10;

/// How long a page waits for room that it cannot do without.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where there is another answer.
pub(crate) const LITTLE_PATIENCE: Duration = Duration::from_secs(2);

/// Room that a page has; given back when dropped.
#[derive(Debug, Default)]
pub struct Room {
    _taken: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// The room of a region.
pub(crate) struct Rooms {
    region: Arc<Semaphore>,
    accounts: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { region: Arc::new(Semaphore::new(REGION_KIB as usize)), accounts: Mutex::default() }
    }
}

impl Rooms {
    /// Takes room for a page of an account, "" for callers without one.
    ///
    /// # Errors
    /// [`ServiceError::TooManyLargeAnswers`] when there is none for so long.
    pub(crate) async fn take(&self, account: &str, bytes: u64, patience: Duration) -> Result<Room, ServiceError> {
        if bytes <= SMALL_BYTES {
            return Ok(Room::default());
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(ACCOUNT_KIB);
        let own = self.of_account(account).await;
        let take = async {
            let own = own.acquire_many_owned(kib).await.ok()?;
            Some((own, Arc::clone(&self.region).acquire_many_owned(kib).await.ok()?))
        };
        let taken = tokio::time::timeout(patience, take).await.ok().flatten();
        taken.map(|taken| Room { _taken: Some(taken) }).ok_or(ServiceError::TooManyLargeAnswers)
    }

    /// What one account may have. Kept as long as somebody has or wants some of it.
    async fn of_account(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().await;
        if let Some(known) = accounts.get(account).and_then(Weak::upgrade) {
            return known;
        }
        accounts.retain(|_, known| known.strong_count() > 0);
        let made = Arc::new(Semaphore::new(ACCOUNT_KIB as usize));
        accounts.insert(account.to_owned(), Arc::downgrade(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn an_account_waits_for_itself_and_not_for_others() {
        let rooms = Rooms::default();
        let first = rooms.take("a", PAGE_BYTES, SHORT).await.unwrap();
        assert!(matches!(rooms.take("a", PAGE_BYTES, SHORT).await, Err(ServiceError::TooManyLargeAnswers)));
        let others = rooms.take("b", PAGE_BYTES, SHORT).await.unwrap();
        assert!(rooms.take("c", PAGE_BYTES, SHORT).await.is_err(), "the region has room for two");
        let small = rooms.take("a", SMALL_BYTES, SHORT).await.unwrap();
        drop(first);
        let again = rooms.take("a", PAGE_BYTES * 9, SHORT).await.unwrap();
        drop((others, small, again));
        assert_eq!(rooms.region.available_permits(), REGION_KIB as usize);
        drop(rooms.take("d", PAGE_BYTES, SHORT).await.unwrap());
        rooms.of_account("e").await;
        assert!(rooms.accounts.lock().await.len() <= 2, "accounts without pages are forgotten");
    }
}
