//! Which indexes were made for referrers tags, so that they can be asked for by digest as well.

use std::collections::HashMap;

use tokio::sync::Mutex;
use transship_oci::{Digest, Tag};

/// Indexes that were made and may be asked for by digest. Beyond that they are asked for by tag again.
const MAX_REMEMBERED: usize = 4096;

/// Under which tag an index was made whose digest a client has seen. Lost at a restart, which costs a question by tag.
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
