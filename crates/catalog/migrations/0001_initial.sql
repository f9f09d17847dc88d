-- Columns are text and 64-bit integers only, so that one text serves both databases.
-- Names in braces are filled in by the dialect. Times are milliseconds since 1970, flags are 0 or 1.

CREATE TABLE account (
    id {text} PRIMARY KEY,
    name {text} NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE iam_user (
    id {text} PRIMARY KEY,
    account_id {text} NOT NULL REFERENCES account (id),
    name {text} NOT NULL,
    password_hash {text},
    is_admin BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (account_id, name)
);
CREATE INDEX iam_user_by_name ON iam_user (name);

-- expires_at 0: never
CREATE TABLE access_key (
    access_key {text} PRIMARY KEY,
    user_id {text} NOT NULL REFERENCES iam_user (id) ON DELETE CASCADE,
    sealed_secret {text} NOT NULL,
    enabled BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_key_by_user ON access_key (user_id);
CREATE INDEX access_key_by_end ON access_key (expires_at);

-- The creator is history, which may outlive the user: no foreign key.
CREATE TABLE namespace (
    id {id},
    name {text} NOT NULL UNIQUE,
    account_id {text} NOT NULL REFERENCES account (id),
    creator_id {text} NOT NULL,
    creator_name {text} NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX namespace_by_account ON namespace (account_id);

CREATE TABLE namespace_permission (
    namespace_id BIGINT NOT NULL REFERENCES namespace (id) ON DELETE CASCADE,
    user_id {text} NOT NULL REFERENCES iam_user (id) ON DELETE CASCADE,
    level BIGINT NOT NULL CHECK (level IN (1, 3, 7)),
    PRIMARY KEY (namespace_id, user_id)
);
CREATE INDEX namespace_permission_by_user ON namespace_permission (user_id);

CREATE TABLE repository (
    id {id},
    namespace_id BIGINT NOT NULL REFERENCES namespace (id),
    name {text} NOT NULL,
    is_public BIGINT NOT NULL,
    category {text} NOT NULL,
    description {text} NOT NULL,
    creator_id {text} NOT NULL,
    creator_name {text} NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (namespace_id, name)
);

CREATE TABLE repository_permission (
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    user_id {text} NOT NULL REFERENCES iam_user (id) ON DELETE CASCADE,
    level BIGINT NOT NULL CHECK (level IN (1, 3, 7)),
    PRIMARY KEY (repository_id, user_id)
);
CREATE INDEX repository_permission_by_user ON repository_permission (user_id);

-- Content that exists. A location is written once and never used again. There is no index on the times that every push
-- renews: PostgreSQL then updates the row in place.
CREATE TABLE blob (
    digest {text} PRIMARY KEY,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    location {text} NOT NULL UNIQUE,
    seen_at BIGINT NOT NULL
);

-- Only through a link does a repository serve a blob.
CREATE TABLE blob_link (
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest {text} NOT NULL REFERENCES blob (digest),
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX blob_link_by_digest ON blob_link (digest);

-- raw: the pushed bytes, which are JSON and so valid text
CREATE TABLE manifest (
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest {text} NOT NULL,
    media_type {text} NOT NULL,
    artifact_type {text},
    subject_digest {text},
    config_digest {text},
    layers_size_bytes BIGINT NOT NULL,
    pushed_at BIGINT NOT NULL,
    raw {text} NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX manifest_by_subject ON manifest (repository_id, subject_digest, digest);

-- A link cannot go while a manifest needs it.
CREATE TABLE manifest_blob (
    repository_id BIGINT NOT NULL,
    manifest_digest {text} NOT NULL,
    blob_digest {text} NOT NULL,
    PRIMARY KEY (repository_id, manifest_digest, blob_digest),
    FOREIGN KEY (repository_id, manifest_digest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE,
    FOREIGN KEY (repository_id, blob_digest) REFERENCES blob_link (repository_id, digest)
);
CREATE INDEX manifest_blob_by_blob ON manifest_blob (repository_id, blob_digest);

-- No foreign key on the child: the OCI specification lets clients delete in any order.
CREATE TABLE manifest_child (
    repository_id BIGINT NOT NULL,
    manifest_digest {text} NOT NULL,
    child_digest {text} NOT NULL,
    PRIMARY KEY (repository_id, manifest_digest, child_digest),
    FOREIGN KEY (repository_id, manifest_digest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE
);
CREATE INDEX manifest_child_by_child ON manifest_child (repository_id, child_digest);

CREATE TABLE tag (
    id {long_id},
    repository_id BIGINT NOT NULL,
    name {text} NOT NULL,
    digest {text} NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (repository_id, name),
    FOREIGN KEY (repository_id, digest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE
);
CREATE INDEX tag_by_digest ON tag (repository_id, digest);
CREATE INDEX tag_by_time ON tag (repository_id, updated_at, name);

-- life_ms: how long a session lives after a sign of life
CREATE TABLE upload (
    id {text} PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    user_id {text} NOT NULL,
    location {text} NOT NULL UNIQUE,
    algorithm {text} NOT NULL,
    offset_bytes BIGINT NOT NULL,
    hash_state {text},
    store_state {text},
    writer_token {text},
    writer_until BIGINT NOT NULL,
    life_ms BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX upload_by_repository ON upload (repository_id);
CREATE INDEX upload_by_end ON upload (expires_at);

-- Locations whose bytes nothing names any more.
CREATE TABLE tombstone (
    location {text} PRIMARY KEY,
    condemned_at BIGINT NOT NULL
);
CREATE INDEX tombstone_by_time ON tombstone (condemned_at);

-- A job is history too: it outlives its repository.
CREATE TABLE job (
    id {id},
    account_id {text} NOT NULL REFERENCES account (id),
    repository_id BIGINT REFERENCES repository (id) ON DELETE SET NULL,
    namespace {text} NOT NULL,
    repository {text} NOT NULL,
    tag {text} NOT NULL,
    target_region {text} NOT NULL,
    target_namespace {text} NOT NULL,
    override_existing BIGINT NOT NULL,
    operator_id {text} NOT NULL,
    operator_name {text} NOT NULL,
    state {text} NOT NULL,
    attempt BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    lease_owner {text},
    lease_until BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL,
    digest {text},
    last_error {text},
    bytes_done BIGINT NOT NULL,
    bytes_total BIGINT NOT NULL,
    blobs_done BIGINT NOT NULL,
    blobs_total BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX job_waiting_once ON job (repository_id, tag, target_region, target_namespace, override_existing)
    WHERE state = 'waiting';
CREATE INDEX job_open ON job (target_region) WHERE state IN ('waiting', 'running');
CREATE INDEX job_waiting ON job (target_region, id) WHERE state = 'waiting';
CREATE INDEX job_running ON job (target_region, id) WHERE state = 'running';
CREATE INDEX job_running_copy ON job (repository_id, tag) WHERE state = 'running';
CREATE INDEX job_due ON job (run_at) WHERE state = 'waiting';
CREATE INDEX job_leased ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_open_of_account ON job (account_id) WHERE state IN ('waiting', 'running');
CREATE INDEX job_by_repository ON job (repository_id, id);
CREATE INDEX job_ended ON job (updated_at) WHERE state NOT IN ('waiting', 'running');
