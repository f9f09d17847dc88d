-- The time that a job has used up itself: running, and in the pauses after its own tries. The time in which it could have
-- run and others did is not in it.
ALTER TABLE job ADD COLUMN spent_ms BIGINT NOT NULL DEFAULT 0;
-- When its run began; 0 while that time is in spent_ms already.
ALTER TABLE job ADD COLUMN claimed_at BIGINT NOT NULL DEFAULT 0;
-- The tries in a row that found the target away. They make the pauses longer and do not count as failures.
ALTER TABLE job ADD COLUMN away BIGINT NOT NULL DEFAULT 0;
UPDATE job SET claimed_at = updated_at WHERE state = 'running';

-- Each account has a queue of its own for each target region, in the order in which its jobs became due.
DROP INDEX job_waiting;
CREATE INDEX job_waiting_of_account ON job (target_region, account_id, run_at, id) WHERE state = 'waiting';
-- The account that was served last for a region while others waited too: the next turn begins behind it.
CREATE TABLE job_turn (
    target_region {text} PRIMARY KEY,
    account_id {text} NOT NULL
);

-- What is left of repositories that were deleted.
CREATE INDEX job_of_deleted ON job (account_id, namespace, repository, id) WHERE repository_id IS NULL;
