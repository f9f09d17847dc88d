//! Remembers which indexes were made for referrers tags, so that clients can also get them by digest.

use std::collections::HashMap;

use tokio::sync::Mutex;
use transship_oci::{Digest, Tag};

/// Maximum number of remembered indexes. Clients ask for forgotten ones by tag again.
const MAX_REMEMBERED: usize = 4096;

/// The tag of each index that was made, by its digest. A restart forgets them, which costs a client one request by tag.
#[derive(Debug, Default)]
pub(crate) struct MadeIndexes(Mutex<HashMap<(i64, Digest), Tag>>);

impl MadeIndexes {
    pub(super) async fn remember(&self, repository_id: i64, digest: &Digest, tag: &Tag) {
        let mut made = self.0.lock().await;
        if made.len() >= MAX_REMEMBERED {
            made.clear();
        }
        made.insert((repository_id, digest.clone()), tag.clone());
    }

    pub(super) async fn tag_of(&self, repository_id: i64, digest: &Digest) -> Option<Tag> {
        let made = self.0.lock().await;
        made.get(&(repository_id, digest.clone())).cloned()
    }
}
