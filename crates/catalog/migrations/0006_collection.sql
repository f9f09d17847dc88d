-- was_readable: whether somebody may still be reading the bytes, or hold a backup of rows that name them. Those of upload
-- sessions, which all tombstones were until now, never could be read.
ALTER TABLE tombstone ADD COLUMN was_readable BIGINT NOT NULL DEFAULT 0;
DROP INDEX tombstone_by_time;
CREATE INDEX tombstone_by_time ON tombstone (was_readable, condemned_at, location);
