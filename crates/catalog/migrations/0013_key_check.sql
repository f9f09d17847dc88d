-- Which keys this catalog is used with, so that another file of that name is noticed. Never a key itself: name is the file, value the
-- public key, or a digest that is made with the secret.
CREATE TABLE key_check (
    name {text} PRIMARY KEY,
    value {text} NOT NULL
);
