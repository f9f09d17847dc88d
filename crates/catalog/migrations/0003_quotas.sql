-- What a namespace uses, kept by every transaction that changes it, and what it may use: null is the region's default, -1
-- no limit. Bytes are those of the distinct blobs that its repositories link.
ALTER TABLE namespace ADD COLUMN used_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE namespace ADD COLUMN used_repositories BIGINT NOT NULL DEFAULT 0;
ALTER TABLE namespace ADD COLUMN used_tags BIGINT NOT NULL DEFAULT 0;
ALTER TABLE namespace ADD COLUMN limit_bytes BIGINT;
ALTER TABLE namespace ADD COLUMN limit_repositories BIGINT;
ALTER TABLE namespace ADD COLUMN limit_tags BIGINT;
UPDATE namespace SET
    used_bytes = (SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blob b WHERE b.digest IN
        (SELECT l.digest FROM blob_link l JOIN repository r ON r.id = l.repository_id WHERE r.namespace_id = namespace.id)),
    used_repositories = (SELECT COUNT(*) FROM repository r WHERE r.namespace_id = namespace.id),
    used_tags = (SELECT COUNT(*) FROM tag t JOIN repository r ON r.id = t.repository_id WHERE r.namespace_id = namespace.id);
