-- quarantined_at: since when the bytes are known to be wrong or missing; 0: as far as is known they are right.
-- repair_at: when to try next to get them from somewhere else.
ALTER TABLE blob ADD COLUMN quarantined_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE blob ADD COLUMN quarantine_reason {text};
ALTER TABLE blob ADD COLUMN repair_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX blob_quarantined ON blob (repair_at) WHERE quarantined_at > 0;

-- One row: how far the round has come, and who is at it.
CREATE TABLE scrub (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    after_digest {text} NOT NULL,
    begun_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    owner {text},
    lease_until BIGINT NOT NULL
);
INSERT INTO scrub (id, after_digest, begun_at, next_at, lease_until) VALUES (1, '', 0, 0, 0);
