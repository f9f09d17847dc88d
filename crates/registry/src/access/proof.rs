//! The proof that a caller may do something with a repository.
//!
//! Owns: the only way to such a proof. Never: what a level or a token allows (`policy`, `token_grant`).
//!
//! Operations on content take the proof as an argument, so a handler cannot forget to check, whatever API it belongs to:
//!
//! ```compile_fail
//! # use std::{marker::PhantomData, net::IpAddr, sync::Arc};
//! # use transship_registry::{Authorized, Grant, Pull};
//! # use transship_oci::RepositoryName;
//! fn forged<'a>(grant: &'a Arc<Grant>, name: &'a RepositoryName, address: IpAddr) -> Authorized<'a, Pull> {
//!     Authorized { grant, name, address, right: PhantomData } // Its fields are private.
//! }
//! ```
//!
//! A right is no other right:
//!
//! ```compile_fail
//! # use transship_registry::{Authorized, Content, Delete, Pull};
//! # use transship_oci::Digest;
//! async fn confused(content: &Content, pull: Authorized<'_, Pull>, digest: &Digest) {
//!     let _ = content.delete_blob(pull, digest).await;
//! }
//! ```
//!
//! With the right one it compiles:
//!
//! ```
//! # use transship_registry::{Authorized, Content, Delete, Pull};
//! # use transship_oci::Digest;
//! async fn deletes(content: &Content, delete: Authorized<'_, Delete>, digest: &Digest) {
//!     let _ = content.delete_blob(delete, digest).await;
//! }
//! ```

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use transship_oci::{Action, RepositoryName};

use crate::access::asks::Asks;
use crate::access::policy::Principal;
use crate::access::token_grant::Grant;
use crate::error::ServiceError;

/// A right of the registry protocol, as a type.
pub trait Right: sealed::Sealed {
    /// The action that a token must allow.
    const ACTION: Action;
}

/// The right to read a repository.
#[derive(Debug)]
pub enum Pull {}

/// The right to write a repository, and to create it.
#[derive(Debug)]
pub enum Push {}

/// The right to delete from a repository.
#[derive(Debug)]
pub enum Delete {}

impl Right for Pull {
    const ACTION: Action = Action::Pull;
}

impl Right for Push {
    const ACTION: Action = Action::Push;
}

impl Right for Delete {
    const ACTION: Action = Action::Delete;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Pull {}
    impl Sealed for super::Push {}
    impl Sealed for super::Delete {}
}

/// Proof that a token carries the right `R` on a repository, which need not exist. Only [`Grant::authorize`] makes it.
///
/// A token names the organization that had the name when the token was made. A namespace that was deleted and created
/// again is a different one, whoever created it, so every operation compares it with the row that it finds.
#[derive(Debug)]
pub struct Authorized<'a, R> {
    grant: &'a Arc<Grant>,
    name: &'a RepositoryName,
    /// The address of an anonymous caller, if it matters.
    address: IpAddr,
    right: PhantomData<fn() -> R>,
}

impl<R> Clone for Authorized<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Authorized<'_, R> {}

impl Grant {
    /// Proves that the token carries a right on a repository; `None` if it does not.
    pub fn authorize<'a, R: Right>(self: &'a Arc<Self>, name: &'a RepositoryName) -> Option<Authorized<'a, R>> {
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.allows(name, R::ACTION).then_some(Authorized { grant: self, name, address, right: PhantomData })
    }
}

impl<'a, R> Authorized<'a, R> {
    /// Sets the caller's address, which tells anonymous callers apart.
    #[must_use]
    pub const fn from_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The repository.
    pub const fn name(&self) -> &'a RepositoryName {
        self.name
    }

    /// The token's grant, for rights on other repositories.
    pub(crate) const fn grant(&self) -> &'a Arc<Grant> {
        self.grant
    }

    /// The user who holds the token; `None` for an anonymous token.
    pub(crate) fn principal(&self) -> Option<&'a Principal> {
        self.grant.principal.as_ref()
    }

    /// The user that upload sessions are bound to; empty for an anonymous caller.
    pub(crate) fn user_id(&self) -> &'a str {
        self.grant.user_id()
    }

    /// The caller, where callers share a limit.
    pub(crate) fn asks(&self) -> Asks<'a> {
        self.principal().map_or(Asks::Stranger(self.address), |principal| Asks::Account(&principal.account_id))
    }

    /// Returns an error if `namespace_id` is not the namespace that the token was made for.
    pub(crate) fn require(&self, namespace_id: i64) -> Result<(), ServiceError> {
        self.grant.require(self.name.namespace(), namespace_id)
    }

    /// The same proof, for a task that outlives its request.
    pub(crate) fn keep(&self) -> Kept<R> {
        Kept { grant: Arc::clone(self.grant), name: self.name.clone(), address: self.address, right: PhantomData }
    }
}

/// A proof that owns what it speaks of.
pub(crate) struct Kept<R> {
    grant: Arc<Grant>,
    name: RepositoryName,
    address: IpAddr,
    right: PhantomData<fn() -> R>,
}

impl<R> Kept<R> {
    pub(crate) const fn get(&self) -> Authorized<'_, R> {
        Authorized { grant: &self.grant, name: &self.name, address: self.address, right: PhantomData }
    }
}
