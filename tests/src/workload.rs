//! The load of a busy build server on a region (workload W3): images of six layers, most of them shared, pushed as
//! docker pushes (`HEAD`, mount, upload). All clients overwrite `latest`, and delete old images. The same seed pushes
//! the same images in the same order, client by client.
//!
//! Everything acknowledged goes into a [`History`], and every answer is checked against it: I2 (content), I3 (closure),
//! I4 (tag order) and I5 (no resurrection) hold for each read on the way. [`CiPush::check`] looks at everything that
//! must be there at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use reqwest::Method;

use crate::history::{Begun, History};
use crate::http;
use crate::image::{self, Image};
use crate::random::Random;
use crate::registry::{Registry, Repository};

/// Layers of an image besides the one that makes it unique.
const LAYERS: usize = 5;
/// The spread of sizes: with a median of 300 KiB, one layer in a hundred has 80 MiB or more, as on a build server.
const SIGMA: f64 = 2.41;
/// Images that a client keeps before it deletes its oldest.
const KEPT: usize = 4;
/// Maximum number of times in a row that one image is pushed. A manifest is refused if a layer was collected between
/// the client's look and its push; then the push is repeated. More often in a row is not bad luck.
const REPEATS: usize = 20;

/// How big the images are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Half of the layers are smaller.
    pub median_bytes: u32,
    /// No layer is larger.
    pub max_bytes: u32,
    /// Layers that images share.
    pub pool: u64,
    /// Repositories that are pushed to.
    pub repositories: u64,
}

/// The workload on one region.
#[derive(Debug)]
pub struct CiPush {
    registry: Registry,
    namespace: String,
    shape: Shape,
    /// Shared layers are the same within a run, and different in the next.
    seed: u64,
    history: History,
}

/// What one client did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Images pushed.
    pub pushed: u64,
    /// Layers found in the repository.
    pub found: u64,
    /// Layers mounted from another repository.
    pub mounted: u64,
    /// Layers uploaded.
    pub uploaded: u64,
    /// Images deleted.
    pub deleted: u64,
    /// Pushes repeated because a layer had been collected.
    pub repeated: u64,
}

/// An image that a client has pushed and not deleted.
#[derive(Clone, Debug)]
pub struct Own {
    repository: String,
    tag: String,
    digest: String,
    begun: Begun,
}

impl CiPush {
    /// The workload on an organization of a region.
    pub fn new(registry: Registry, namespace: &str, shape: Shape, seed: u64) -> Self {
        Self { registry, namespace: namespace.to_owned(), shape, seed, history: History::default() }
    }

    /// A layer, by its seed.
    fn layer(&self, seed: u64) -> Vec<u8> {
        let mut random = Random::seeded(seed);
        let size = lognormal(&mut random, self.shape.median_bytes, self.shape.max_bytes);
        random.bytes(size)
    }

    /// Makes an image: 70 % of its layers come from the pool. One small layer makes sure that it was never pushed
    /// before.
    pub fn image(&self, random: &mut Random) -> Image {
        let mut layers: Vec<Vec<u8>> = (0..LAYERS)
            .map(|_| {
                let (is_shared, own, shared) = (random.below(10) < 7, random.bits(), random.below(self.shape.pool));
                self.layer(if is_shared { self.seed ^ shared } else { own })
            })
            .collect();
        layers.push(random.bytes(200));
        Image::of(layers)
    }

    fn repository(&self, number: u64) -> String {
        format!("{}/ci{number}", self.namespace)
    }

    /// Runs one client, which begins nothing new after `until`. Returns what it did and what it has not deleted.
    pub async fn client(&self, number: u64, mut random: Random, until: Instant) -> (Counts, Vec<Own>) {
        let mut counts = Counts::default();
        let mut kept: VecDeque<Own> = VecDeque::new();
        while Instant::now() < until {
            let (to, from) = (random.below(self.shape.repositories), random.below(self.shape.repositories));
            let tag = if random.below(10) < 3 { "latest".to_owned() } else { format!("c{number}-{}", counts.pushed) };
            let image = self.image(&mut random);
            let own = self.push(&self.repository(to), &tag, &self.repository(from), &image, &mut counts).await;
            self.read(&own.repository, &own.tag).await;
            if random.below(4) == 0 && own.tag != "latest" {
                let pulled = self.registry.pull(&own.repository, &own.tag).await;
                assert_eq!(pulled.digest, own.digest, "I1: {}:{}", own.repository, own.tag);
            }
            kept.push_back(own);
            if kept.len() > KEPT {
                let oldest = kept.pop_front().expect("there are some");
                // An image that `latest` may still name stays: deleting it by its digest would delete the tag too.
                if oldest.tag == "latest" && !self.history.is_overwritten(&oldest.begun) {
                    kept.push_back(oldest);
                } else {
                    self.delete(&oldest).await;
                    counts.deleted += 1;
                }
            }
        }
        (counts, kept.into())
    }

    async fn push(&self, to: &str, tag: &str, from: &str, image: &Image, counts: &mut Counts) -> Own {
        let key = format!("{to}:{tag}");
        for _ in 0..REPEATS {
            let scope = format!("pull,push repository:{from}:pull");
            let repository = self.registry.open(to, &scope).await;
            for blob in &image.blobs {
                push_blob(&repository, from, blob, counts).await;
            }
            let begun = self.history.begin(&key, Some(&image.digest()));
            let reply = repository.put_manifest(tag, image.media_type, &image.raw).await;
            if reply.status == 404 && reply.text().contains("MANIFEST_BLOB_UNKNOWN") {
                self.history.refuse(&begun);
                counts.repeated += 1;
                continue;
            }
            reply.expect(201);
            self.history.acknowledge(&begun);
            counts.pushed += 1;
            return Own { repository: to.to_owned(), tag: tag.to_owned(), digest: image.digest(), begun };
        }
        panic!("{key} was refused {REPEATS} times in a row because of a layer that had just been there")
    }

    async fn read(&self, repository: &str, tag: &str) {
        let open = self.registry.open(repository, "pull").await;
        let start = self.history.now();
        let found = open.tag_digest(tag).await;
        self.history.read(&format!("{repository}:{tag}"), start, found.as_deref());
    }

    /// Deletes an image by its digest, and with it its tag, unless that is `latest`, which others write too.
    async fn delete(&self, own: &Own) {
        let key = format!("{}:{}", own.repository, own.tag);
        let is_alone = own.tag != "latest";
        let begun = is_alone.then(|| self.history.begin(&key, None));
        let repository = self.registry.open(&own.repository, "pull,push,delete").await;
        let path = format!("manifests/{}", own.digest);
        http::send(repository.request(Method::DELETE, &path)).await.expect(202);
        if let Some(begun) = begun {
            self.history.acknowledge(&begun);
        }
        // I5: gone is gone.
        http::send(repository.request(Method::GET, &path)).await.expect(404);
        self.read(&own.repository, &own.tag).await;
    }

    /// Checks the region after all clients have ended: every tag has a possible value, and is whole. Deletes what the
    /// clients have left and no tag names. Returns the size of every blob that is still needed.
    pub async fn check(&self, left: Vec<Own>) -> BTreeMap<String, usize> {
        let (mut needed, mut tagged) = (BTreeMap::new(), BTreeSet::new());
        for key in self.history.tags() {
            let (name, tag) = key.rsplit_once(':').expect("a key is a repository and a tag");
            let repository = self.registry.open(name, "pull").await;
            let start = self.history.now();
            let found = repository.tag_digest(tag).await;
            self.history.read(&key, start, found.as_deref());
            if let Some(digest) = found {
                let mut parts = repository.pull(&digest).await.parts;
                parts.remove(&digest);
                needed.extend(parts);
                tagged.insert(digest);
            }
        }
        for own in left.iter().filter(|own| !tagged.contains(&own.digest)) {
            self.delete(own).await;
        }
        needed
    }
}

/// As docker does it: look, mount, upload in one `PATCH`, close.
async fn push_blob(repository: &Repository, from: &str, bytes: &[u8], counts: &mut Counts) {
    let digest = image::digest(bytes);
    if http::send(repository.request(Method::HEAD, &format!("blobs/{digest}"))).await.status == 200 {
        counts.found += 1;
        return;
    }
    let start = repository.request(Method::POST, &format!("blobs/uploads/?mount={digest}&from={from}"));
    let started = http::send(start.header("Content-Length", "0")).await;
    if started.status == 201 {
        counts.mounted += 1;
        return;
    }
    let started = started.expect(202);
    let patch = repository.request_at(Method::PATCH, started.header("location").expect("an upload has a location"));
    let patched = http::send(patch.header("Content-Type", "application/octet-stream").body(bytes.to_vec())).await;
    let patched = patched.expect(202);
    let location = patched.header("location").expect("an upload has a location").to_owned();
    let joint = if location.contains('?') { '&' } else { '?' };
    let put = repository.request_at(Method::PUT, &format!("{location}{joint}digest={digest}"));
    http::send(put.header("Content-Length", "0")).await.expect(201);
    counts.uploaded += 1;
}

/// A size drawn from a lognormal distribution, between 1 and `max_bytes`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped between 1 and a u32")]
fn lognormal(random: &mut Random, median_bytes: u32, max_bytes: u32) -> usize {
    let mut unit = || f64::from(u32::try_from(random.bits() >> 32).expect("32 bits are left")) / f64::from(u32::MAX);
    // Box and Muller's way to a normal distribution; the first must not be 0.
    let (one, two) = (unit().max(1e-9), unit());
    let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
    let size = f64::from(median_bytes) * (SIGMA * normal).exp();
    size.clamp(1.0, f64::from(max_bytes)) as usize
}

#[cfg(test)]
mod tests {
    use super::lognormal;
    use crate::random::Random;

    #[test]
    fn sizes_are_those_of_a_build_server() {
        let mut random = Random::seeded(1);
        let mut sizes: Vec<usize> = (0..20_000).map(|_| lognormal(&mut random, 300 << 10, u32::MAX)).collect();
        sizes.sort_unstable();
        let at = |percent: usize| sizes[sizes.len() * percent / 100] >> 10;
        assert!((270..330).contains(&at(50)), "median {} KiB", at(50));
        assert!((60 << 10..100 << 10).contains(&at(99)), "99th percentile {} KiB", at(99));
    }
}
