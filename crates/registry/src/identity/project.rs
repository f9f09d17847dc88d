//! Projects: IAM has them and this service does not, so each account has exactly one in each region.

use sha2::{Digest as _, Sha256};

use crate::access::policy::Principal;
use crate::identity::service::Identity;

/// The project of an account in this region (contract 7.1: its name is the region id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// 32 hex digits; they stay the same as long as the account exists.
    pub id: String,
    /// The region id.
    pub name: String,
}

impl Identity {
    /// The project of a caller.
    pub fn project_of(&self, principal: &Principal) -> Project {
        let region = &self.settings().region;
        let hash = Sha256::digest(format!("project {} {region}", principal.account_id));
        Project { id: hex::encode(&hash[..16]), name: region.to_string() }
    }
}
