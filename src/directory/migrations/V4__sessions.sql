-- Sessions of users who have signed in, and the keys that sign their tokens. A session goes with its user, and with the
-- key that signed it.
CREATE TABLE session_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    period_start BIGINT NOT NULL,
    seed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX session_keys_by_period ON session_keys (period_start);

CREATE TABLE sessions (
    sid TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    team_id TEXT,
    kid TEXT NOT NULL REFERENCES session_keys (kid) ON DELETE CASCADE,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX sessions_of_user ON sessions (user_id, issued_at);
CREATE INDEX sessions_of_key ON sessions (kid);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
