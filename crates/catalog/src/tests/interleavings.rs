//! The real transactions of pushes, deletions and collection, in every order of a few scripts (the model beside this
//! file goes through the statements inside them). Each order runs on repositories and content of its own.

use std::collections::HashSet;

use transship_oci::Digest;

use super::{Fixture, digest, finish, fixture, new_upload, put, repository, take};
use crate::{Catalog, PutManifestError, Remains};

/// One step of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Mounts the layer from the first repository into the second; uploads it there when that is refused.
    Mount,
    /// Uploads the layer into a repository.
    Upload(usize),
    /// Puts a manifest that names the layer into a repository.
    Put(usize),
    /// Deletes that manifest.
    DeleteManifest(usize),
    /// Deletes the layer from a repository.
    DeleteBlob(usize),
    /// Deletes a whole repository.
    DeleteRepository(usize),
    LookAtLinks,
    Unlink,
    LookAtBlobs,
    Condemn,
    Sweep,
}

/// One order's world.
struct World<'a> {
    catalog: &'a Catalog,
    repositories: [i64; 2],
    content: String,
    layer: Digest,
    /// Where there are bytes.
    bytes: HashSet<String>,
    seen_links: Vec<i64>,
    seen_blob: bool,
}

impl World<'_> {
    fn raw(&self) -> String {
        format!("manifest of {}", self.content)
    }

    async fn run(&mut self, step: Step) {
        let catalog = self.catalog;
        let layer = self.layer.clone();
        match step {
            Step::Mount => {
                let [from, to] = self.repositories;
                if catalog.mount_blob(from, to, &layer).await.unwrap().is_none() {
                    self.upload(1).await;
                }
            }
            Step::Upload(repository) => self.upload(repository).await,
            Step::Put(repository) => {
                let (id, raw, blobs) =
                    (self.repositories[repository], self.raw(), [(layer, self.content.len() as u64)]);
                match catalog.put_manifest(put(id, &raw, &blobs, &[])).await {
                    Ok(_) | Err(PutManifestError::BlobUnknown(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            Step::DeleteManifest(repository) => {
                catalog.delete_manifest(self.repositories[repository], &digest(&self.raw())).await.unwrap();
            }
            Step::DeleteBlob(repository) => {
                catalog.unlink_blob(self.repositories[repository], &layer).await.unwrap();
            }
            Step::DeleteRepository(repository) => {
                catalog.delete_repository(self.repositories[repository]).await.unwrap();
            }
            Step::LookAtLinks => {
                let found = catalog.unneeded_links(0, None, 1000).await.unwrap().garbage;
                self.seen_links =
                    found.into_iter().filter(|key| key.digest == layer).map(|key| key.repository_id).collect();
            }
            Step::Unlink => {
                for id in std::mem::take(&mut self.seen_links) {
                    catalog.remove_links(id, std::slice::from_ref(&layer), 0).await.unwrap();
                }
            }
            Step::LookAtBlobs => {
                self.seen_blob = catalog.unlinked_blobs(None, 1000).await.unwrap().garbage.contains(&layer);
            }
            Step::Condemn => {
                if std::mem::take(&mut self.seen_blob) {
                    catalog.condemn_blobs(&[layer]).await.unwrap();
                }
            }
            Step::Sweep => self.sweep().await,
        }
    }

    async fn upload(&mut self, repository: usize) {
        let upload = new_upload(self.repositories[repository], 60_000);
        if self.catalog.create_upload(&upload).await.is_err() {
            // The repository is gone.
            return;
        }
        self.bytes.insert(upload.location.clone());
        take(self.catalog, &upload.id, "writer", 10_000).await.unwrap().unwrap();
        finish(self.catalog, &upload.id, "writer", &self.layer, self.content.len() as u64).await.unwrap();
    }

    async fn sweep(&mut self) {
        for remains in [Remains::Unread, Remains::Readable { grace_ms: 0 }] {
            for tombstone in self.catalog.due_tombstones(remains, None, 1000).await.unwrap() {
                self.bytes.remove(&tombstone.location);
                self.catalog.forget_tombstone(&tombstone.location).await.unwrap();
            }
        }
    }

    /// Every manifest that is there has its layer (I3), and every link leads to bytes (I18).
    async fn check(&self, order: &[Step]) {
        for id in self.repositories {
            let found = self.catalog.find_blob(id, &self.layer).await.unwrap();
            if !self.catalog.manifest_exists(id, &[digest(&self.raw())]).await.unwrap().is_empty() {
                assert!(found.is_some(), "a manifest without its layer after {order:?}");
            }
            if let Some(blob) = found {
                assert!(self.bytes.contains(&blob.location), "a blob without its bytes after {order:?}");
            }
        }
    }

    /// The collector alone leaves nothing but what manifests need.
    async fn check_clean(&mut self, order: &[Step]) {
        for step in [Step::LookAtLinks, Step::Unlink, Step::LookAtBlobs, Step::Condemn, Step::Sweep] {
            self.run(step).await;
        }
        let mut needed = HashSet::new();
        for id in self.repositories {
            let has_manifest = !self.catalog.manifest_exists(id, &[digest(&self.raw())]).await.unwrap().is_empty();
            let found = self.catalog.find_blob(id, &self.layer).await.unwrap();
            assert_eq!(found.is_some(), has_manifest, "{order:?}");
            needed.extend(found.map(|blob| blob.location));
        }
        assert_eq!(self.bytes, needed, "bytes that stay after {order:?}");
    }
}

/// Returns every order of the scripts' steps that keeps the order within each script.
fn orders(scripts: &[&[Step]]) -> Vec<Vec<Step>> {
    fn go_on(rest: &mut [&[Step]], order: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
        if rest.iter().all(|script| script.is_empty()) {
            all.push(order.clone());
        }
        for actor in 0..rest.len() {
            if let Some((first, others)) = rest[actor].split_first() {
                let script = rest[actor];
                rest[actor] = others;
                order.push(*first);
                go_on(rest, order, all);
                order.pop();
                rest[actor] = script;
            }
        }
    }
    let mut all = Vec::new();
    go_on(&mut scripts.to_vec(), &mut Vec::new(), &mut all);
    all
}

/// Runs every order after `first`, and checks after each step.
async fn in_every_order(catalog: &Catalog, name: &str, first: &[Step], scripts: &[&[Step]], expected: usize) {
    let fixture: Fixture = fixture(catalog).await;
    let orders = orders(scripts);
    assert_eq!(orders.len(), expected);
    for (n, order) in orders.into_iter().enumerate() {
        let mut repositories = [0; 2];
        for (place, id) in repositories.iter_mut().enumerate() {
            *id = repository(catalog, &fixture.namespace, &fixture.admin, &format!("{name}-{n}-{place}")).await.id;
        }
        let content = format!("{name} {n}");
        let layer = digest(&content);
        let mut world = World {
            catalog,
            repositories,
            content,
            layer,
            bytes: HashSet::new(),
            seen_links: Vec::new(),
            seen_blob: false,
        };
        for step in first {
            world.run(*step).await;
        }
        for step in &order {
            world.run(*step).await;
            world.check(&order).await;
        }
        world.check_clean(&order).await;
        for id in repositories {
            catalog.delete_repository(id).await.unwrap();
        }
    }
}

/// A link that nothing needs, an image that is pushed with it after a HEAD, one that is deleted, and a collector.
pub(super) async fn links_in_every_order(catalog: Catalog, _: String) {
    let first = [Step::Upload(0), Step::Put(0), Step::Upload(1)];
    let scripts: [&[Step]; 3] = [
        &[Step::Put(1)],
        &[Step::DeleteManifest(0)],
        &[Step::LookAtLinks, Step::Unlink, Step::LookAtBlobs, Step::Condemn, Step::Sweep],
    ];
    in_every_order(&catalog, "links", &first, &scripts, 42).await;
}

/// A blob that nothing links, pushed again while it is condemned and swept.
pub(super) async fn blobs_in_every_order(catalog: Catalog, _: String) {
    let first = [Step::Upload(0), Step::DeleteBlob(0)];
    let scripts: [&[Step]; 3] =
        [&[Step::Upload(0), Step::Put(0)], &[Step::Upload(1)], &[Step::LookAtBlobs, Step::Condemn, Step::Sweep]];
    in_every_order(&catalog, "blobs", &first, &scripts, 60).await;
}

/// A mount whose source goes away (F8): first the image, then the repository.
pub(super) async fn mounts_in_every_order(catalog: Catalog, _: String) {
    let first = [Step::Upload(0), Step::Put(0)];
    let scripts: [&[Step]; 3] =
        [&[Step::Mount, Step::Put(1)], &[Step::DeleteRepository(0)], &[Step::LookAtBlobs, Step::Condemn, Step::Sweep]];
    in_every_order(&catalog, "mounts", &first, &scripts, 60).await;
}
