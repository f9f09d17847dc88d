//! The service for accounts, users, logins and tokens.

use std::sync::Arc;

use transship_catalog::Catalog;

use crate::access::policy::Principal;
use crate::access::service::Access;
use crate::error::ServiceError;
use crate::identity::keys::Keys;
use crate::identity::passwords::Passwords;
use crate::identity::throttle::Throttle;
use crate::identity::tokens::VerifiedTokens;
use crate::pull_cache::PullCache;
use crate::settings::{LoginLimits, Settings};
use crate::shared::Shared;

/// Size of the cache for the one principal of an open region.
const ONE_ENTRY_BYTES: u64 = 4 << 10;

/// Accounts, users, logins and tokens. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    shared: Shared,
    pub(super) access: Access,
    inner: Arc<Inner>,
}

struct Inner {
    keys: Arc<Keys>,
    passwords: Passwords,
    throttle: Throttle,
    open_principal: PullCache<Principal>,
    verified_tokens: VerifiedTokens,
}

impl Identity {
    pub(crate) fn new(shared: Shared, access: Access, keys: Arc<Keys>) -> Self {
        let inner = Inner {
            keys,
            passwords: Passwords::default(),
            throttle: Throttle::new(shared.settings().logins),
            open_principal: PullCache::new(ONE_ENTRY_BYTES, |_: &Principal| 0),
            verified_tokens: VerifiedTokens::default(),
        };
        Self { shared, access, inner: Arc::new(inner) }
    }

    /// Replaces the limits for failed logins.
    pub(crate) fn set_login_limits(&self, limits: LoginLimits) {
        self.throttle().set_limits(limits);
    }

    /// The key file that was replaced since this process read it, if one was.
    pub async fn replaced_key(&self) -> Result<Option<&'static str>, ServiceError> {
        for (name, check) in self.keys().checks() {
            if self.catalog().key_check(name).await?.is_some_and(|noted| noted != check) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.shared.catalog()
    }

    pub(crate) fn settings(&self) -> &'static Settings {
        self.shared.settings()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(super) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(super) fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    pub(super) fn open_principal_cache(&self) -> &PullCache<Principal> {
        &self.inner.open_principal
    }

    pub(super) fn verified_tokens(&self) -> &VerifiedTokens {
        &self.inner.verified_tokens
    }
}
