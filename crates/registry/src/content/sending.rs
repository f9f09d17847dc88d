//! Large manifests that are being sent to clients.
//!
//! Many nodes that pull one image at once share one buffer, which is counted once. A reader gets copies of its pieces,
//! so that the whole buffer can be freed when others need its room.
//!
//! Owns: the buffers, and who may join one. Never: who may read a manifest, which the caller has decided before.

#![expect(clippy::disallowed_types, reason = "a short lock that is never held over an await")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use transship_oci::Digest;

use crate::content::large_pages::Kept;
use crate::content::large_pages::Room;

/// Time for which a buffer accepts more readers.
///
/// Later readers start another one: a buffer is cut off for all its readers at once, and each should get some seconds.
const JOIN_TIME: Duration = Duration::from_secs(1);

/// The buffers, by the digest of their content.
#[derive(Default)]
pub(crate) struct Sending(Mutex<HashMap<Digest, Weak<LargeManifest>>>);

/// A large manifest that is being sent to one or more readers.
#[derive(Debug)]
pub struct LargeManifest {
    raw: Kept<Bytes>,
    since: Instant,
}

impl LargeManifest {
    /// At most `most_bytes` bytes starting at `from`; `None` if others needed the room.
    pub fn piece(&self, from: usize, most_bytes: usize) -> Option<Bytes> {
        self.raw.with(|raw| {
            let from = from.min(raw.len());
            Bytes::copy_from_slice(&raw[from..raw.len().min(from + most_bytes)])
        })
    }
}

impl Sending {
    /// The manifest of that digest, if others have just begun to read it.
    pub(crate) fn join(&self, digest: &Digest) -> Option<Arc<LargeManifest>> {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).and_then(Weak::upgrade)?;
        (sent.since.elapsed() < JOIN_TIME).then_some(sent)
    }

    /// Begins to send a manifest.
    pub(crate) fn begin(&self, digest: &Digest, raw: Bytes, room: Room) -> Arc<LargeManifest> {
        let begun = Arc::new(LargeManifest { raw: room.keep(raw), since: Instant::now() });
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.retain(|_, known| known.strong_count() > 0);
        sent.insert(digest.clone(), Arc::downgrade(&begun));
        begun
    }
}
