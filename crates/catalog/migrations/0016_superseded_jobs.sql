-- The job that took over the copy of one that ended as superseded: whoever waits for the one waits for the other.
ALTER TABLE job ADD COLUMN superseded_by BIGINT;
