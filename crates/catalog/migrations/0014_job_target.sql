-- What the target's tag was before the job wrote it: NULL: the job has not written it; '': there was no such tag;
-- otherwise the digest that it pointed at.
ALTER TABLE job ADD COLUMN target_before {text};
