//! The three levels of permission (contract 5.2).

use sqlx::any::AnyRow;

use crate::CatalogError;
use crate::row::Columns as _;

/// What a user may do with a namespace or a repository. The numbers are those of the contract and of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i64)]
pub enum Level {
    /// Pull.
    Read = 1,
    /// Pull, push and edit.
    Write = 3,
    /// Everything: also delete, grant and share.
    Manage = 7,
}

/// A number that is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a permission level: expected 1, 3 or 7")]
pub struct InvalidLevel(pub i64);

impl Level {
    /// The number of the contract.
    pub const fn number(self) -> i64 {
        self as i64
    }
}

impl TryFrom<i64> for Level {
    type Error = InvalidLevel;

    fn try_from(number: i64) -> Result<Self, InvalidLevel> {
        match number {
            1 => Ok(Self::Read),
            3 => Ok(Self::Write),
            7 => Ok(Self::Manage),
            other => Err(InvalidLevel(other)),
        }
    }
}

/// Reads a level from a column; `None` if the column is NULL.
pub(crate) fn level(row: &AnyRow, column: &str) -> Result<Option<Level>, CatalogError> {
    let number = row.optional_number(column)?;
    let level = number.map(Level::try_from).transpose();
    level.map_err(|InvalidLevel(number)| CatalogError::Corrupt { what: format!("{column} {number}") })
}

/// The condition that a user belongs to the account of the namespace `n`, and administers it or has a level on `n` or
/// on its repository `r`. The arguments are the parameters that hold the user's account, the user, and whether it is an
/// administrator (0 or 1).
macro_rules! has_level {
    ($account:literal, $user:literal, $is_admin:literal) => {
        concat!(
            "(n.account_id = ",
            $account,
            " AND (",
            $is_admin,
            " = 1
                OR EXISTS (SELECT 1 FROM namespace_permission p WHERE p.namespace_id = n.id AND p.user_id = ",
            $user,
            ")
                OR EXISTS (SELECT 1 FROM repository_permission p WHERE p.repository_id = r.id AND p.user_id = ",
            $user,
            ")))"
        )
    };
}
pub(crate) use has_level;

/// The condition that a user may read the repository `r` of the namespace `n`: it is public, or the user has a level.
/// The policy (`registry/src/access/policy.rs`) decides the same for one repository; a test compares the two.
macro_rules! may_read {
    ($account:literal, $user:literal, $is_admin:literal) => {
        concat!("(r.is_public = 1 OR ", crate::level::has_level!($account, $user, $is_admin), ")")
    };
}
pub(crate) use may_read;
