-- Tokens of other regions that were used, kept until none of them could be good any more, so that each is good once.
CREATE TABLE region_token (
    region {text} NOT NULL,
    id {text} NOT NULL,
    forget_at BIGINT NOT NULL,
    PRIMARY KEY (region, id)
);
CREATE INDEX region_token_by_end ON region_token (forget_at);
