-- When the repository had last changed as the run pinned its digest: while that stands, the run copies all that is there.
ALTER TABLE job ADD COLUMN repository_updated_at BIGINT NOT NULL DEFAULT 0;

-- The open jobs of a tag are found together, whatever they are doing; those that run are few for each region.
DROP INDEX job_running_copy;
CREATE INDEX job_open_copy ON job (repository_id, tag) WHERE state IN ('waiting', 'running');
