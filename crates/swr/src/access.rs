//! Permissions of users on organizations and repositories: contract 5.2, 5.4.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, ErrorCode};
use crate::fields::{Fields, brief, elements, wrong_type};
use crate::query::missing;
use crate::record::record;

record! {
    /// A user's level on an organization or a repository.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UserAuth {
        /// The level: 7 manage, 3 write, 1 read.
        pub auth: i64 = "auth",
        /// The id of the user.
        pub user_id: String = "user_id",
        /// The name of the user; in a request it may be left out.
        pub user_name: String = "user_name" [default],
    }
}

record! {
    /// The levels on an organization or a repository.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UserAuths {
        /// The name of the user who created it; empty for callers of another account.
        pub creator_name: String = "creator_name" [default],
        /// Its number, below 2^31.
        pub id: i64 = "id",
        /// Its name.
        pub name: String = "name",
        /// The levels of everybody else.
        pub others_auths: Vec<UserAuth> = "others_auths",
        /// The caller's level; 0 for none.
        pub self_auth: UserAuth = "self_auth",
    }
}

/// Reads the request of the operations that grant and change levels: an array of [`UserAuth`].
///
/// # Errors
/// The contract's code for what is wrong with it.
pub fn parse_user_auths(body: &[u8]) -> Result<Vec<UserAuth>, ApiError> {
    let read = |element| {
        let Value::Object(map) = element else { return Err(wrong_type("a permission", &element, "an object")) };
        let fields = Fields::from(map);
        let auth = match fields.get("auth") {
            None => return Err(missing("auth")),
            Some(value) => value.as_i64().ok_or_else(|| {
                let message = format!("auth is {}; expected 7 (manage), 3 (write) or 1 (read)", brief(value));
                ApiError::new(ErrorCode::BadNamespacePermission, message)
            })?,
        };
        Ok(UserAuth {
            auth,
            user_id: user_id(fields.text("user_id")?.to_owned())?,
            user_name: fields.optional_text("user_name")?.unwrap_or_default().to_owned(),
        })
    };
    elements(body, "the list of permissions", "an array of permissions")?.into_iter().map(read).collect()
}

/// Reads the request of the operations that withdraw levels: an array of user ids. An empty body or array is 4001014
/// (contract 1.1).
///
/// # Errors
/// The contract's code for what is wrong with it.
pub fn parse_user_ids(body: &[u8]) -> Result<Vec<String>, ApiError> {
    const WHAT: &str = "the list of user ids";
    if body.is_empty() {
        return Err(missing(WHAT));
    }
    let read = |element| match element {
        Value::String(id) => user_id(id),
        other => Err(wrong_type("a user id", &other, "a string")),
    };
    elements(body, WHAT, "an array of user ids")?.into_iter().map(read).collect()
}

/// Refuses an id with a NUL: no user has one, and PostgreSQL cannot even be asked for it.
fn user_id(id: String) -> Result<String, ApiError> {
    if id.contains('\0') {
        let message = format!("user_id is {}; expected the id of a user", brief(&Value::String(id)));
        return Err(ApiError::new(ErrorCode::BadUser, message));
    }
    Ok(id)
}

#[cfg(test)]
mod tests;
