//! Errors of the catalog.

/// Errors of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A row that the operation needs does not exist.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for, with its name.
        what: String,
    },
    /// A row of that name exists already.
    #[error("{what} exists already")]
    Conflict {
        /// What is there already, with its name.
        what: String,
    },
    /// A value that cannot be stored.
    #[error("{what} cannot be stored")]
    Invalid {
        /// The value, and what is wrong with it.
        what: String,
    },
    /// The tag may neither move nor be deleted. Nothing is changed.
    #[error("tag {tag} is immutable")]
    Immutable {
        /// The tag.
        tag: String,
    },
    /// The change would exceed a quota of the namespace. Nothing is changed.
    #[error(transparent)]
    QuotaExceeded(#[from] crate::QuotaExceeded),
    /// The database was locked or unreachable for longer than an operation waits. The caller should retry later.
    #[error("the catalog is busy")]
    Busy,
    /// The database does not accept a connection.
    #[error("cannot connect to the database at {address}: {reason}")]
    Unreachable {
        /// Host, port and name of the database, without user and password.
        address: String,
        /// Why it does not.
        reason: String,
    },
    /// The database has no room left. Reading still works.
    #[error("the catalog's storage is full")]
    StorageFull,
    /// A newer version of the program has changed the tables; this one must not touch them.
    #[error("the catalog has schema {found}, this program knows schemas up to {known}: run the newer program")]
    NewerSchema {
        /// The version that the database has.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// An older version of the program made the tables, and this call may not change them.
    #[error(
        "the catalog has schema {found}, this program needs schema {known}: use the program that serves the region, or \
         serve it once with this one, which brings the tables up to date"
    )]
    OlderSchema {
        /// The version that the database has.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// Another process has replaced the key that seals secrets, so this process holds an old one. Nothing is changed.
    #[error("secrets.key was replaced by another process; start this one again with the new file")]
    KeyReplaced,
    /// A stored value breaks the rules of its column.
    #[error("the catalog holds an invalid {what}")]
    Corrupt {
        /// The column and its value.
        what: String,
    },
    /// Anything else that the database says.
    #[error("catalog: {0}")]
    Database(#[from] sqlx::Error),
}

impl CatalogError {
    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }
}
