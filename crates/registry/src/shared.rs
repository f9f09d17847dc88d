//! What every service uses: the facts (catalog), the bytes (store) and the settings of one region.
//!
//! Owns: these three, together. Never: anything of one room alone.

use std::sync::Arc;

use arc_swap::ArcSwap;
use transship_catalog::Catalog;
use transship_store::BlobStore;

use crate::settings::Settings;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    /// Never freed, so that callers may keep references to it. Only an operator changes it, and each change costs a few
    /// KiB.
    settings: ArcSwap<&'static Settings>,
    catalog: Catalog,
    store: Arc<dyn BlobStore>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, catalog: Catalog, store: Arc<dyn BlobStore>) -> Self {
        let catalog = catalog.with_quotas(settings.quotas);
        let settings: &'static Settings = Box::leak(Box::new(settings));
        Self { inner: Arc::new(Inner { settings: ArcSwap::from_pointee(settings), catalog, store }) }
    }

    /// The current settings. A caller that keeps the reference keeps the old values after a change.
    pub(crate) fn settings(&self) -> &'static Settings {
        **self.inner.settings.load()
    }

    /// Replaces the settings, for everything that starts from now on.
    pub(crate) fn change_settings(&self, settings: Settings) {
        self.catalog().set_quotas_by_default(settings.quotas);
        let settings: &'static Settings = Box::leak(Box::new(settings));
        self.inner.settings.store(Arc::new(settings));
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlobStore> {
        &self.inner.store
    }
}
