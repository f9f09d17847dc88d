-- The full name of a repository and its account, so that each list of names is one walk along one index. Neither the name
-- of a namespace nor its account ever changes.
ALTER TABLE repository ADD COLUMN path {text} NOT NULL DEFAULT '';
ALTER TABLE repository ADD COLUMN account_id {text} NOT NULL DEFAULT '';
UPDATE repository SET
    path = (SELECT n.name || '/' || repository.name FROM namespace n WHERE n.id = repository.namespace_id),
    account_id = (SELECT n.account_id FROM namespace n WHERE n.id = repository.namespace_id);
CREATE UNIQUE INDEX repository_by_path ON repository (path);
CREATE INDEX repository_by_account ON repository (account_id, path);
CREATE INDEX repository_public ON repository (path) WHERE is_public = 1;

CREATE INDEX manifest_by_subject_and_type ON manifest (repository_id, subject_digest, artifact_type, digest);

-- What a manifest names and its repository did not have when it was pushed; only where the operator allows that. A link
-- that comes later is held by this row as by one of manifest_blob.
CREATE TABLE manifest_missing_blob (
    repository_id BIGINT NOT NULL,
    manifest_digest {text} NOT NULL,
    blob_digest {text} NOT NULL,
    PRIMARY KEY (repository_id, manifest_digest, blob_digest),
    FOREIGN KEY (repository_id, manifest_digest) REFERENCES manifest (repository_id, digest) ON DELETE CASCADE
);
CREATE INDEX manifest_missing_blob_by_blob ON manifest_missing_blob (repository_id, blob_digest);
