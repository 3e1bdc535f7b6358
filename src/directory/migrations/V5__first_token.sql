-- The hash of a key's first secret, which its counters and books are named by: a new secret changes nothing about what was
-- spent, nor about what is being spent.
ALTER TABLE keys ADD COLUMN first_token TEXT NOT NULL DEFAULT '';
UPDATE keys SET first_token = token;
CREATE UNIQUE INDEX keys_by_first_token ON keys (first_token);
