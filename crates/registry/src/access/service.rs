//! The service that answers who may do what.

use transship_catalog::Catalog;

use crate::settings::Settings;
use crate::shared::Shared;

/// Who may do what, and the levels that users give each other. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    shared: Shared,
}

impl Access {
    pub(crate) const fn new(shared: Shared) -> Self {
        Self { shared }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.shared.catalog()
    }

    pub(crate) fn settings(&self) -> &'static Settings {
        self.shared.settings()
    }
}
