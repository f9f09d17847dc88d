-- Of the limit of bytes count manifests too, and what upload sessions have brought so far.
--
-- upload_bytes: the sum of reserved_bytes of the namespace's sessions.
-- reserved_before: what reserved_bytes was before its last change, so that one statement can tell the difference.
ALTER TABLE namespace ADD COLUMN upload_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN reserved_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN reserved_before BIGINT NOT NULL DEFAULT 0;
-- Whether another repository of the namespace holds a manifest is asked at each push and deletion.
CREATE INDEX manifest_by_digest ON manifest (digest);
UPDATE upload SET reserved_bytes = offset_bytes;
UPDATE namespace SET
    upload_bytes = (SELECT CAST(COALESCE(SUM(u.reserved_bytes), 0) AS BIGINT)
        FROM upload u JOIN repository r ON r.id = u.repository_id WHERE r.namespace_id = namespace.id),
    used_bytes = used_bytes + (SELECT CAST(COALESCE(SUM(octet_length(m.raw)), 0) AS BIGINT)
        FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE r.namespace_id = namespace.id AND NOT EXISTS (
            SELECT 1 FROM manifest o JOIN repository p ON p.id = o.repository_id
            WHERE o.digest = m.digest AND p.namespace_id = namespace.id AND o.repository_id < m.repository_id));
