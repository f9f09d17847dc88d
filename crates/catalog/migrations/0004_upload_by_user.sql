-- How many upload sessions a user has is counted whenever one is opened.
CREATE INDEX upload_by_user ON upload (user_id);
