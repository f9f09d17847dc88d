-- A temporary login ends with what it was made with. made_with: that access key, null when it was a token; made_with_epoch
-- and user_epoch: how the key and the user stood then. A key's epoch rises when it is switched on or off, and with its secret.
ALTER TABLE access_key ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE access_key ADD COLUMN made_with {text};
ALTER TABLE access_key ADD COLUMN made_with_epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE access_key ADD COLUMN user_epoch BIGINT NOT NULL DEFAULT 0;
-- What the logins of before were made with is not known: they end with their user, and within a day.
UPDATE access_key SET user_epoch = (SELECT u.epoch FROM iam_user u WHERE u.id = access_key.user_id) WHERE expires_at > 0;
UPDATE access_key SET expires_at = {now} + 86400000 WHERE expires_at > {now} + 86400000;

-- Bytes of the distinct blobs that the account's repositories link, kept by every transaction that changes them.
ALTER TABLE account ADD COLUMN stored_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE account SET stored_bytes = (SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blob b WHERE b.digest IN
    (SELECT l.digest FROM blob_link l JOIN repository r ON r.id = l.repository_id WHERE r.account_id = account.id));
