//! What every room stands on: the facts, the bytes and the settings of one region.
//!
//! Owns: these three, together. Never: anything of one room alone.

use std::sync::{Arc, PoisonError, RwLock};

use transship_catalog::Catalog;
use transship_store::BlobStore;

use crate::settings::Settings;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    /// Never freed: references to it are handed out for as long as their holder likes, and it changes only when an operator says so.
    /// A few KiB for each change.
    settings: RwLock<&'static Settings>,
    catalog: Catalog,
    store: Arc<dyn BlobStore>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, catalog: Catalog, store: Arc<dyn BlobStore>) -> Self {
        let catalog = catalog.with_quotas(settings.quotas);
        let settings: &'static Settings = Box::leak(Box::new(settings));
        Self { inner: Arc::new(Inner { settings: RwLock::new(settings), catalog, store }) }
    }

    /// What the operator decided, as it is now: whoever keeps the reference goes on with what held then.
    pub(crate) fn settings(&self) -> &'static Settings {
        *self.inner.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other settings over, for everything that begins from now on.
    pub(crate) fn change_settings(&self, settings: Settings) {
        self.catalog().set_quotas_by_default(settings.quotas);
        *self.inner.settings.write().unwrap_or_else(PoisonError::into_inner) = Box::leak(Box::new(settings));
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlobStore> {
        &self.inner.store
    }
}
