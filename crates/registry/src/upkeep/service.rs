//! The service that maintains a region.

use std::sync::Arc;

use transship_catalog::Catalog;
use transship_store::BlobStore;

use crate::content::service::Content;
use crate::replication::trust::Trust;
use crate::settings::Settings;
use crate::shared::Shared;

/// Collection, scrubbing, fsck and tidying. Cheap to clone.
#[derive(Clone)]
pub struct Upkeep {
    shared: Shared,
    pub(super) content: Content,
    pub(super) trust: Trust,
}

impl Upkeep {
    pub(crate) const fn new(shared: Shared, content: Content, trust: Trust) -> Self {
        Self { shared, content, trust }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.shared.catalog()
    }

    pub(crate) fn settings(&self) -> &'static Settings {
        self.shared.settings()
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlobStore> {
        self.shared.store()
    }
}
