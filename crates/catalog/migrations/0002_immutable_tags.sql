-- A JSON array of patterns, those behind ! being exceptions; the empty text when every tag may move.
ALTER TABLE repository ADD COLUMN immutable_tags {text} NOT NULL DEFAULT '';
