//! The one error type of the service, with a sentence for the person who reads it.
//!
//! Owns: which kinds of refusal exist. Never: status codes or bodies, which each API gives them in its own shape.

use transship_catalog::{CatalogError, QuotaExceeded};
use transship_oci::{Digest, ManifestError, NamespaceName};
use transship_store::{StoreError, StoreErrorKind};

/// Why an operation failed.
///
/// The text of every variant is meant for the caller; [`ServiceError::Internal`] and [`ServiceError::StorageFault`]
/// keep their reason for the log.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A namespace name breaks the grammar.
    #[error(
        "{0:?} is not a valid organization name: 1-64 characters, a lower-case letter first, then a-z, 0-9 and single . _ - between them"
    )]
    InvalidNamespace(String),
    /// A namespace name that fits the grammar but is reserved.
    #[error("{0:?} is a reserved name, which no organization can have; choose another name")]
    NamespaceReserved(String),
    /// A repository name breaks the grammar.
    #[error("{0:?} is not a valid repository name: 1-128 characters of a-z, 0-9, with single . _ - / between them")]
    InvalidRepository(String),
    /// A tag breaks the grammar.
    #[error("{0:?} is not a valid tag: 1-128 characters of A-Z, a-z, 0-9, _ . -, the first not . or -")]
    InvalidTag(String),
    /// Another parameter has an invalid value.
    #[error("{name} is {value:?}; expected {expected}")]
    InvalidParameter {
        /// The parameter, as the API spells it.
        name: &'static str,
        /// The value that came.
        value: String,
        /// The values that are allowed.
        expected: String,
    },
    /// A mandatory parameter is missing.
    #[error("{0} is missing; it is mandatory")]
    MissingParameter(&'static str),

    /// The namespace does not exist, or the caller may not know that it does.
    #[error("namespace {namespace} not found in region {region}{}", reserved_note(namespace))]
    NamespaceAbsent {
        /// The namespace that was asked for.
        namespace: String,
        /// The region that lacks it.
        region: String,
    },
    /// The repository does not exist, or the caller may not know that it does.
    #[error("repository {0} not found")]
    RepositoryAbsent(String),
    /// The tag does not exist.
    #[error("tag {tag} not found in repository {repository}")]
    TagAbsent {
        /// `namespace/repository`.
        repository: String,
        /// The tag that was asked for.
        tag: String,
    },
    /// The repository has no manifest under this reference.
    #[error("manifest {0} not found")]
    ManifestAbsent(String),
    /// The repository has no blob with this digest.
    #[error("blob {0} not found in this repository")]
    BlobAbsent(Digest),
    /// The upload session does not exist: it never did, or it has expired, finished or been cancelled.
    #[error("upload session not found: it was finished, cancelled or has expired; start a new one")]
    UploadAbsent,
    /// The grant to change or remove does not exist.
    #[error("user {0} has no permission of its own here")]
    GrantAbsent(String),
    /// The account has no such user.
    #[error("user {0:?} not found in this account")]
    UserAbsent(String),
    /// Something else that the request names does not exist.
    #[error("{0} not found")]
    Absent(String),

    /// A namespace of this name exists already, in this account or another.
    #[error("organization {0} exists already; organization names are unique in a region")]
    NamespaceTaken(String),
    /// The repository exists already.
    #[error("repository {0} exists already")]
    RepositoryExists(String),
    /// The tag exists already and `override` is false.
    #[error("tag {0} exists already; set override to true to move it")]
    TagExists(String),
    /// The tag is immutable, so it was left unchanged.
    #[error(
        "tag {0} is immutable in this repository: it can neither move to other content nor be deleted; push under another tag, or have the operator change `transship admin immutable-tags`"
    )]
    TagImmutable(String),
    /// A grant exists already.
    #[error("user {0} has a permission here already; change it instead of creating it")]
    GrantExists(String),
    /// The namespace still holds repositories.
    #[error("organization {0} still holds repositories; delete them first")]
    NamespaceNotEmpty(String),
    /// An account, user or access key of that name exists already.
    #[error("{0} exists already")]
    Exists(String),
    /// A level other than 1, 3 and 7.
    #[error("{0} is not a permission level; expected 7 (manage), 3 (write) or 1 (read)")]
    InvalidLevel(i64),
    /// A quota is used up.
    #[error("quota of {limit} {what} is used up; delete some, or have the operator of the region raise {setting}")]
    QuotaExceeded {
        /// The setting that limits it.
        setting: &'static str,
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: i64,
    },

    /// The organization's quota has no room for the content.
    #[error(transparent)]
    NamespaceFull(#[from] QuotaExceeded),
    /// The caller may not do this.
    #[error("insufficient permission: {0}")]
    Denied(String),

    /// The login sent the secret key itself as the password; its sender holds the key and only needs to be told.
    #[error(
        "that is the secret key itself, and the password is derived from it: printf \"$ACCESS_KEY\" | openssl dgst -binary -sha256 -hmac \"$SECRET_KEY\" | od -An -vtx1 | tr -d ' \\n'; POST /v2/manage/utils/secret makes a login too"
    )]
    SecretKeyAsPassword,
    /// Too many failed logins with this name, or from this address.
    #[error("too many failed logins from your address; try again in {wait_seconds} s")]
    TooManyAttempts {
        /// Seconds after which a retry makes sense.
        wait_seconds: u64,
    },
    /// Other large answers of the same account, or of all accounts, are still being sent.
    #[error(
        "too many large lists or manifests are being sent at once; try again shortly, ask for fewer records, or without manifests"
    )]
    TooManyLargeAnswers,
    /// The user has too many upload sessions open.
    #[error("{limit} upload sessions of this user are open; finish or cancel some, or wait until they expire")]
    TooManyUploads {
        /// The limit.
        limit: i64,
    },

    /// The namespace that the token was made for is gone; another one has its name now.
    #[error("organization {0} was deleted and made again since the token was made; log in again")]
    GrantOutdated(String),
    /// A region has used more region tokens than this region remembers.
    #[error("region {region} has used {limit} region tokens in the last ten minutes; wait for some to be forgotten")]
    TooManyRegionTokens {
        /// The region that asks.
        region: String,
        /// The limit.
        limit: i64,
    },

    /// The target region is not configured.
    #[error("region {0:?} is not configured here; GET /v2/manage/regions lists the regions that are")]
    RegionUnknown(String),
    /// Source and target are the same repository.
    #[error(
        "source and target are the same: region {region}, organization {namespace}; name another region or organization"
    )]
    SelfTarget {
        /// The own region.
        region: String,
        /// The own namespace.
        namespace: String,
    },
    /// The call names more distinct tags than one call may.
    #[error("imageTag names {got} distinct tags; the limit is {limit}")]
    TooManyTags {
        /// The limit.
        limit: usize,
        /// The number of tags in the call.
        got: usize,
    },
    /// The account's queue is full.
    #[error("{limit} replication jobs of this account are open already; try again when some are done")]
    QueueFull {
        /// The limit.
        limit: i64,
    },

    /// The manifest is invalid.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// A manifest names a blob that the repository does not hold.
    #[error("blob {0} is unknown to this repository; push it first")]
    BlobUnknown(Digest),
    /// An index names a manifest that the repository does not hold.
    #[error("manifest {0} is unknown to this repository; push it first")]
    ChildUnknown(Digest),
    /// Content does not have the digest it was announced with.
    #[error("content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// The announced digest.
        expected: Digest,
        /// The digest of the bytes that arrived.
        actual: Digest,
    },
    /// A chunk does not start where the upload stands.
    #[error("the upload stands at byte {offset_bytes}; the chunk must start there")]
    RangeInvalid {
        /// The upload session.
        session: String,
        /// Where the next chunk must start.
        offset_bytes: u64,
    },
    /// A size does not match.
    #[error("{what} has {actual} bytes, not {expected}")]
    SizeDiffers {
        /// The thing that was measured.
        what: String,
        /// The announced size.
        expected: u64,
        /// The actual size.
        actual: u64,
    },
    /// Another request is writing to the session.
    #[error("another request is writing to this upload session; wait for it or start a new one")]
    UploadBusy,
    /// The client stopped sending in the middle of a body.
    #[error("the request body ended early: {0}")]
    BodyBroken(String),
    /// If-Match or If-None-Match did not hold.
    #[error("the tag points at {}, so the condition of the request does not hold", .0.as_ref().map_or("nothing".to_owned(), ToString::to_string))]
    PreconditionFailed(Option<Digest>),
    /// The blob is still named by a manifest.
    #[error("blob {0} is still named by a manifest of this repository; delete the manifest first")]
    BlobInUse(Digest),

    /// The disk is full.
    #[error("the storage is full; free space or ask the operator to")]
    StorageFull,
    /// The storage failed. The text goes to the log, never to the caller.
    #[error("the storage has a fault; try again shortly")]
    StorageFault(String),
    /// A part of the region does not answer at the moment.
    #[error("{0}; try again shortly")]
    Unavailable(String),
    /// A bug in Transship. The text goes to the log, never to the caller.
    #[error("internal error")]
    Internal(String),
}

impl ServiceError {
    /// Seconds after which the same request may succeed; `None` if waiting alone does not help.
    pub const fn wait_seconds(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts { wait_seconds } => Some(*wait_seconds),
            Self::TooManyLargeAnswers => Some(2),
            _ => None,
        }
    }

    /// The reason that only the log may show.
    pub fn log_reason(&self) -> Option<&str> {
        match self {
            Self::Internal(reason) | Self::StorageFault(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Explains that a namespace is absent because its name is reserved. Explanatory words may follow the name.
fn reserved_note(namespace: &str) -> &'static str {
    let name = namespace.split(' ').next().and_then(|name| name.parse::<NamespaceName>().ok());
    if name.is_some_and(|name| name.is_reserved()) { "; the name is reserved, no organization can have it" } else { "" }
}

impl From<CatalogError> for ServiceError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Busy => Self::Unavailable("the catalog is busy".to_owned()),
            CatalogError::NotFound { what } => Self::Absent(what),
            CatalogError::Conflict { what } => Self::Exists(what),
            CatalogError::StorageFull => Self::StorageFull,
            CatalogError::QuotaExceeded(exceeded) => Self::NamespaceFull(exceeded),
            CatalogError::Immutable { tag } => Self::TagImmutable(tag),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NoSpace => Self::StorageFull,
            StoreErrorKind::Busy => Self::UploadBusy,
            StoreErrorKind::Io => Self::StorageFault(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}
