//! Records what a region has acknowledged to a repository's clients, and checks that it holds: I1 (durable), I2
//! (content), I3 (closure), I6 (sessions), I7 (offsets), I22 (repeats).
//!
//! Each step is noted before it is sent, and again when its answer has come. What was acknowledged must hold for ever.
//! What was only sent may hold or not, but never by half.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use tokio::sync::Mutex;

use crate::http;
use crate::image::{self, Image};
use crate::registry::Repository;
use crate::upload::{Lost, Session, acknowledged};

/// The acknowledgements of one repository.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Digest of a blob, and whether it was acknowledged.
    blobs: BTreeMap<String, bool>,
    /// Digest of a manifest, and whether it was acknowledged.
    manifests: BTreeMap<String, bool>,
    tags: BTreeMap<String, Tag>,
    /// Sessions whose end was not acknowledged.
    sessions: Vec<Open>,
    /// Whether the power was cut: then sessions that had no byte yet may be gone.
    was_power_cut: bool,
}

/// A tag as a register: `None` is absent.
#[derive(Clone, Debug, Default)]
struct Tag {
    acknowledged: Option<String>,
    /// Values that were sent since.
    sent: BTreeSet<Option<String>>,
}

/// An open session.
#[derive(Clone, Debug)]
struct Open {
    session: Session,
    content: Vec<u8>,
    acknowledged_bytes: usize,
    sent_bytes: usize,
    is_closing: bool,
}

impl Oracle {
    /// Number of tags that certainly point at something.
    pub fn acknowledged_tags(&self) -> usize {
        self.tags.values().filter(|tag| tag.acknowledged.is_some()).count()
    }

    /// Expects what holds after a power cut: an open session is durable from its first byte on.
    #[must_use]
    pub fn after_power_cut(mut self) -> Self {
        self.was_power_cut = true;
        self
    }

    /// Takes over what another oracle of the same repository knows of other tags.
    pub fn absorb(&mut self, other: Self) {
        self.blobs.extend(other.blobs);
        self.manifests.extend(other.manifests);
        self.tags.extend(other.tags);
        self.sessions.extend(other.sessions);
    }

    fn session(&mut self, session: &Session) -> &mut Open {
        self.sessions.iter_mut().find(|open| open.session == *session).expect("it was noted at its start")
    }

    /// Checks that everything acknowledged is there and everything readable is whole. Sessions that were cut short are
    /// continued and closed; `self` then knows them as acknowledged. Returns the digests of all blobs that are there.
    pub async fn check(&mut self, repository: &Repository) -> BTreeSet<String> {
        for open in std::mem::take(&mut self.sessions) {
            if open.check(repository, self.was_power_cut).await {
                self.blobs.insert(image::digest(&open.content), true);
            }
        }
        let mut there = BTreeSet::new();
        for (digest, is_acknowledged) in &self.blobs {
            let reply = http::send(repository.request(Method::GET, &format!("blobs/{digest}"))).await;
            match reply.status {
                200 => {
                    assert_eq!(&image::digest(&reply.body), digest, "I2: {}", reply.asked);
                    there.insert(digest.clone());
                }
                404 if !is_acknowledged => {}
                status => panic!("I1: {}: status {status}, acknowledged: {is_acknowledged}", reply.asked),
            }
        }
        for (digest, is_acknowledged) in &self.manifests {
            let found = repository.tag_digest(digest).await;
            assert!(found.is_some() || !is_acknowledged, "I1: manifest {digest} was acknowledged and is gone");
            if found.is_some() {
                repository.pull(digest).await;
            }
        }
        for (name, tag) in &mut self.tags {
            let found = repository.tag_digest(name).await;
            let is_allowed = found == tag.acknowledged || tag.sent.contains(&found);
            assert!(is_allowed, "I1, I4: tag {name} is {found:?}; known: {tag:?}");
            if found.is_some() {
                repository.pull(name).await;
            }
            // From now on this is the acknowledged value.
            *tag = Tag { acknowledged: found, sent: BTreeSet::new() };
        }
        there
    }
}

impl Open {
    /// I7: what was acknowledged is durable, what the region claims to have is what was sent, and the rest can follow.
    /// Returns whether the blob is there now.
    async fn check(&self, repository: &Repository, was_power_cut: bool) -> bool {
        let digest = image::digest(&self.content);
        match self.session.offset(repository).await {
            Some(offset) => {
                let possible = self.acknowledged_bytes..=self.sent_bytes;
                assert!(possible.contains(&offset), "I7: {:?} stands at {offset}, not in {possible:?}", self.session);
                let finished = self.session.finish_from(repository, &self.content, offset).await;
                finished.unwrap_or_else(|lost| panic!("I7: cannot go on at {offset} of {digest}: {lost}"));
                true
            }
            None if was_power_cut && self.acknowledged_bytes == 0 => {
                acknowledged(self.session.put(repository, &digest, None, &[]), 201).await.is_ok()
            }
            // Only the commit of the closing PUT ends a session, and that PUT may be repeated (I22).
            None => {
                assert!(self.is_closing, "I6: {:?} is gone, and nobody had closed it", self.session);
                let again = acknowledged(self.session.put(repository, &digest, None, &[]), 201).await;
                again.unwrap_or_else(|lost| panic!("I22: the repeated PUT of {digest} failed: {lost}"));
                true
            }
        }
    }
}

/// Pushes an image with one session for each blob, and notes each step. Blobs go in chunks of `chunk_bytes`; if that is
/// `None`, they go whole in the closing PUT.
///
/// # Errors
/// The first step that was not acknowledged; nothing is tried after it.
pub async fn push(
    oracle: &Mutex<Oracle>,
    repository: &Repository,
    tag: &str,
    image: &Image,
    chunk_bytes: Option<usize>,
) -> Result<(), Lost> {
    for blob in &image.blobs {
        push_blob(oracle, repository, blob, chunk_bytes).await?;
    }
    let digest = image.digest();
    {
        let mut oracle = oracle.lock().await;
        oracle.manifests.entry(digest.clone()).or_default();
        oracle.tags.entry(tag.to_owned()).or_default().sent.insert(Some(digest.clone()));
    }
    let put = repository.request(Method::PUT, &format!("manifests/{tag}")).header("Content-Type", image.media_type);
    acknowledged(put.body(image.raw.clone()), 201).await?;
    let mut oracle = oracle.lock().await;
    oracle.manifests.insert(digest.clone(), true);
    oracle.tags.insert(tag.to_owned(), Tag { acknowledged: Some(digest), sent: BTreeSet::new() });
    Ok(())
}

/// Deletes a tag, and notes that.
///
/// # Errors
/// If the deletion was not acknowledged.
pub async fn delete_tag(oracle: &Mutex<Oracle>, repository: &Repository, tag: &str) -> Result<(), Lost> {
    oracle.lock().await.tags.entry(tag.to_owned()).or_default().sent.insert(None);
    acknowledged(repository.request(Method::DELETE, &format!("manifests/{tag}")), 202).await?;
    oracle.lock().await.tags.insert(tag.to_owned(), Tag::default());
    Ok(())
}

async fn push_blob(
    oracle: &Mutex<Oracle>,
    repository: &Repository,
    content: &[u8],
    chunk_bytes: Option<usize>,
) -> Result<(), Lost> {
    let digest = image::digest(content);
    let session = Session::start(repository).await?;
    {
        let mut oracle = oracle.lock().await;
        oracle.blobs.entry(digest.clone()).or_default();
        oracle.sessions.push(Open {
            session: session.clone(),
            content: content.to_owned(),
            acknowledged_bytes: 0,
            sent_bytes: 0,
            is_closing: false,
        });
    }
    let mut at = 0;
    if let Some(chunk_bytes) = chunk_bytes {
        for chunk in content.chunks(chunk_bytes) {
            oracle.lock().await.session(&session).sent_bytes = at + chunk.len();
            acknowledged(session.patch(repository, Some(at), chunk), 202).await?;
            at += chunk.len();
            oracle.lock().await.session(&session).acknowledged_bytes = at;
        }
    }
    {
        let mut oracle = oracle.lock().await;
        let open = oracle.session(&session);
        (open.sent_bytes, open.is_closing) = (content.len(), true);
    }
    acknowledged(session.put(repository, &digest, None, &content[at..]), 201).await?;
    let mut oracle = oracle.lock().await;
    oracle.sessions.retain(|open| open.session != session);
    oracle.blobs.insert(digest, true);
    Ok(())
}
