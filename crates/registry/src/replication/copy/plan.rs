//! What belongs to an image: its closure in the source repository.
//!
//! Owns: the walk, its limits, and the order in which manifests may be pushed. A digest is visited once, so shared
//! children cost nothing however often they are named.

use std::collections::{HashMap, HashSet};

use transship_oci::{Digest, ManifestView, Reference, Tag};

use super::JobError;
use crate::replication::service::Replication;

/// Maximum nesting of indexes (H14: walks of a closure are limited).
const MAX_DEPTH: usize = 8;
/// Maximum number of manifests of one image, with everything that refers to it (H14: walks of a closure are limited).
const MAX_MANIFESTS: usize = transship_client::peer::MAX_PREPARE_MANIFESTS;
/// Maximum number of blobs of all these manifests: a request that names them stays below what the target reads.
const MAX_BLOBS: usize = transship_client::peer::MAX_PREPARE_BLOBS;
/// Page size when referrers are listed.
const REFERRERS_PAGE: usize = 100;
/// Endings of the tags under which signing tools keep their attachments; the empty one is the referrers tag of the OCI
/// specification.
const ATTACHED_TAG_ENDINGS: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// Everything to copy for one tag.
#[derive(Debug)]
pub(super) struct Plan {
    /// The manifest that the tag will point at.
    pub(super) root: Digest,
    /// Manifests by height: every manifest comes after the children it names. The root is among them.
    pub(super) manifests: Vec<Vec<Digest>>,
    /// Every blob with its size, the largest first.
    pub(super) blobs: Vec<(Digest, u64)>,
    /// Tags of the image's attachments, with the digest of each.
    pub(super) attached_tags: Vec<(Tag, Digest)>,
}

impl Plan {
    /// Whether the manifest has the greatest height, so that no other manifest names it.
    pub(super) fn is_highest(&self, digest: &Digest) -> bool {
        self.manifests.last().is_some_and(|highest| highest.contains(digest))
    }
}

#[derive(Default)]
struct Walk {
    /// Every visited manifest with its height: 0 for an image, one more than the highest child for an index.
    heights: HashMap<Digest, usize>,
    blobs: HashMap<Digest, u64>,
}

impl Replication {
    pub(super) async fn plan_copy(&self, repository_id: i64, root: Digest) -> Result<Plan, JobError> {
        let mut walk = Walk::default();
        self.walk(repository_id, &root, 0, &mut walk).await?;
        let mut attached_tags = Vec::new();
        if self.settings().copy_referrers {
            self.walk_referrers(repository_id, &mut walk, &mut attached_tags).await?;
        }
        let highest = walk.heights.values().copied().max().unwrap_or(0);
        let mut manifests = vec![Vec::new(); highest + 1];
        for (digest, height) in walk.heights {
            manifests[height].push(digest);
        }
        let mut blobs: Vec<(Digest, u64)> = walk.blobs.into_iter().collect();
        blobs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(Plan { root, manifests, blobs, attached_tags })
    }

    /// Visits a manifest and everything below it. Returns its height.
    async fn walk(
        &self,
        repository_id: i64,
        digest: &Digest,
        depth: usize,
        walk: &mut Walk,
    ) -> Result<usize, JobError> {
        if let Some(height) = walk.heights.get(digest) {
            return Ok(*height);
        }
        if depth > MAX_DEPTH {
            return Err(JobError::Terminal(format!("the image nests indexes more than {MAX_DEPTH} deep")));
        }
        if walk.heights.len() >= MAX_MANIFESTS {
            return Err(JobError::Terminal(format!("the image has more than {MAX_MANIFESTS} manifests")));
        }
        let reference = Reference::Digest(digest.clone());
        let stored =
            self.catalog().find_manifest(repository_id, &reference).await.map_err(crate::error::ServiceError::from)?;
        let Some(stored) = stored else {
            return Err(JobError::Terminal(format!("manifest {digest} of the image is not in the source repository")));
        };
        let view = ManifestView::parse(Some(&stored.media_type), &stored.raw)
            .map_err(|error| JobError::Terminal(format!("manifest {digest}: {error}")))?;
        // Dropped before the children are visited: it may be large, and the nesting deep.
        drop(stored);
        // Counted before its children, so that the limit holds for any nesting.
        walk.heights.insert(digest.clone(), 0);
        walk.blobs.extend(view.blobs().map(|blob| (blob.digest.clone(), blob.size_bytes)));
        if walk.blobs.len() > MAX_BLOBS {
            return Err(JobError::Terminal(format!("the image has more than {MAX_BLOBS} blobs")));
        }
        let mut height = 0;
        for child in &view.children {
            let below = Box::pin(self.walk(repository_id, &child.digest, depth + 1, walk)).await?;
            height = height.max(below + 1);
        }
        walk.heights.insert(digest.clone(), height);
        Ok(height)
    }

    /// Visits the signatures, SBOMs and attestations of everything visited so far, and in turn theirs.
    async fn walk_referrers(
        &self,
        repository_id: i64,
        walk: &mut Walk,
        attached_tags: &mut Vec<(Tag, Digest)>,
    ) -> Result<(), JobError> {
        let mut asked = HashSet::new();
        loop {
            let next = walk.heights.keys().find(|digest| !asked.contains(*digest)).cloned();
            let Some(subject) = next else { return Ok(()) };
            asked.insert(subject.clone());
            let mut after: Option<Digest> = None;
            loop {
                let page =
                    self.catalog().referrers(repository_id, &subject, None, after.as_ref(), REFERRERS_PAGE).await;
                let page = page.map_err(crate::error::ServiceError::from)?;
                for referrer in &page.digests {
                    self.walk(repository_id, referrer, 0, walk).await?;
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            for ending in ATTACHED_TAG_ENDINGS {
                let Ok(tag) = format!("{}{ending}", subject.referrers_tag()).parse::<Tag>() else { continue };
                if let Some(digest) = self.content.resolve_tag(repository_id, &tag).await? {
                    self.walk(repository_id, &digest, 0, walk).await?;
                    attached_tags.push((tag, digest));
                }
            }
        }
    }
}
