-- Sessions that ended with a blob, kept for a while so that the closing PUT may be repeated when its answer was lost.
CREATE TABLE finished_upload (
    id {text} PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    user_id {text} NOT NULL,
    digest {text} NOT NULL,
    finished_at BIGINT NOT NULL
);
CREATE INDEX finished_upload_by_repository ON finished_upload (repository_id);
CREATE INDEX finished_upload_by_time ON finished_upload (finished_at);
