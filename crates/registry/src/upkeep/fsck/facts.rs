//! Checks of rows against rows: manifests and what they name, tags, links, counters.

use transship_catalog::HeldManifest;
use transship_oci::{Digest, ManifestView};

use super::{Check, Finding, Problem};
use crate::error::ServiceError;

/// Number of manifests read together. Each may have four megabytes, and is in memory several times while it is checked.
const MANIFESTS: usize = 2;
/// Maximum number of rows of one kind that are reported. There are none, unless somebody has changed the database by
/// hand.
const DANGLING: usize = 1000;
/// Number of organizations read together.
const NAMESPACES: i64 = 200;

impl<F: FnMut(&Finding)> Check<'_, F> {
    /// Checks every manifest against its digest and against what it names.
    pub(super) async fn manifests(&mut self) -> Result<(), ServiceError> {
        let mut after: Option<(i64, Digest)> = None;
        loop {
            let from = after.as_ref().map(|(id, digest)| (*id, digest));
            let page = self.upkeep.catalog().held_manifests(from, MANIFESTS).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.repository_id, last.digest.clone()));
            for held in &page {
                self.report.manifests += 1;
                self.manifest(held).await?;
            }
        }
    }

    async fn manifest(&mut self, held: &HeldManifest) -> Result<(), ServiceError> {
        let subject = format!("{}@{}", held.repository, held.digest);
        let actual = Digest::of(held.digest.algorithm(), &held.raw);
        if actual != held.digest {
            self.found(Problem::DamagedManifest, &subject, format!("its bytes have digest {actual}"), false);
            return Ok(());
        }
        let view = match ManifestView::parse(Some(&held.media_type), &held.raw) {
            Ok(view) => view,
            Err(error) => {
                self.found(Problem::DamagedManifest, &subject, error.to_string(), false);
                return Ok(());
            }
        };
        let catalog = self.upkeep.catalog();
        let blobs: Vec<Digest> = view.blobs().map(|blob| blob.digest.clone()).collect();
        let missing = catalog.missing_links(held.repository_id, &blobs).await?;
        let children: Vec<Digest> = view.children.iter().map(|child| child.digest.clone()).collect();
        let there = catalog.manifest_exists(held.repository_id, &children).await?;
        let absent: Vec<&Digest> = children.iter().filter(|child| !there.contains(child)).collect();
        if missing.is_empty() && absent.is_empty() {
            return Ok(());
        }
        // The manifest was deleted after it was read, and its links with it.
        if catalog.manifest_exists(held.repository_id, std::slice::from_ref(&held.digest)).await?.is_empty() {
            return Ok(());
        }
        for blob in missing {
            self.found(Problem::MissingBlob, &subject, format!("blob {blob} is not linked"), false);
        }
        for child in absent {
            self.found(Problem::MissingChild, &subject, format!("manifest {child} is not there"), false);
        }
        Ok(())
    }

    /// Reports tags and links that point at nothing.
    pub(super) async fn rows(&mut self) -> Result<(), ServiceError> {
        for tag in self.upkeep.catalog().dangling_tags(DANGLING).await? {
            let subject = format!("{}:{}", tag.repository, tag.name);
            self.found(Problem::DanglingTag, &subject, "its manifest is not there", false);
        }
        for link in self.upkeep.catalog().dangling_links(DANGLING).await? {
            let subject = format!("{}@{}", link.repository, link.name);
            self.found(Problem::DanglingLink, &subject, "the blob has no row", false);
        }
        Ok(())
    }

    /// Checks the counter of each account's stored bytes.
    pub(super) async fn accounts(&mut self) -> Result<(), ServiceError> {
        let (catalog, repair) = (self.upkeep.catalog(), self.options.repair);
        for account in catalog.list_accounts().await? {
            let id = &account.id;
            let wrong =
                if repair { catalog.recount_stored_bytes(id).await? } else { catalog.wrong_stored_bytes(id).await? };
            if let Some(counter) = wrong {
                let detail = format!("stored bytes counted as {}, {} are there", counter.says, counter.is);
                self.found(Problem::WrongCounter, &format!("account {}", account.name), detail, repair);
            }
        }
        Ok(())
    }

    /// Checks every counter of the quotas.
    pub(super) async fn counters(&mut self) -> Result<(), ServiceError> {
        let (catalog, mut after) = (self.upkeep.catalog(), 0);
        loop {
            let page = catalog.namespace_usages(after, NAMESPACES).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.namespace_id;
            for usage in page {
                self.report.namespaces += 1;
                let repair = self.options.repair;
                let id = usage.namespace_id;
                let wrong = if repair { catalog.recount(id).await? } else { catalog.wrong_counters(id).await? };
                for counter in wrong {
                    let detail = format!("{} counted as {}, {} are there", counter.resource, counter.says, counter.is);
                    self.found(Problem::WrongCounter, &usage.namespace, detail, repair);
                }
            }
        }
    }
}
