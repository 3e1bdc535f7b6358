-- The first tables. The subset that SQLite and PostgreSQL share: BIGINT for numbers (money in nano-dollars, moments in
-- milliseconds since 1970, booleans 0 and 1), TEXT for names and for JSON. Only the ledger writes a spend.

CREATE TABLE budgets (
    budget_id TEXT NOT NULL PRIMARY KEY,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    allowed_models TEXT NOT NULL DEFAULT '[]',
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE organizations (
    organization_id TEXT NOT NULL PRIMARY KEY,
    organization_alias TEXT,
    budget_id TEXT,
    models TEXT NOT NULL DEFAULT '[]',
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    metadata TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE organization_members (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_role TEXT,
    budget_id TEXT,
    spend BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX organization_members_of_user ON organization_members (user_id);

CREATE TABLE teams (
    team_id TEXT NOT NULL PRIMARY KEY,
    team_alias TEXT,
    organization_id TEXT,
    models TEXT NOT NULL DEFAULT '[]',
    model_aliases TEXT NOT NULL DEFAULT '{}',
    access_group_ids TEXT NOT NULL DEFAULT '[]',
    blocked BIGINT NOT NULL DEFAULT 0,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    team_member_budget_id TEXT,
    team_member_permissions TEXT NOT NULL DEFAULT '[]',
    tags TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL DEFAULT '{}',
    extra TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX teams_of_organization ON teams (organization_id);

CREATE TABLE team_members (
    team_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_email TEXT,
    role TEXT NOT NULL,
    budget_id TEXT,
    allowed_models TEXT NOT NULL DEFAULT '[]',
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_members_of_user ON team_members (user_id);

CREATE TABLE users (
    user_id TEXT NOT NULL PRIMARY KEY,
    user_alias TEXT,
    user_email TEXT,
    sso_user_id TEXT,
    user_role TEXT,
    organization_id TEXT,
    admin_of TEXT NOT NULL DEFAULT '[]',
    models TEXT NOT NULL DEFAULT '[]',
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    metadata TEXT NOT NULL DEFAULT '{}',
    extra TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX users_by_email ON users (user_email);
CREATE UNIQUE INDEX users_by_sso_user_id ON users (sso_user_id);

CREATE TABLE projects (
    project_id TEXT NOT NULL PRIMARY KEY,
    project_alias TEXT,
    team_id TEXT,
    budget_id TEXT,
    models TEXT NOT NULL DEFAULT '[]',
    blocked BIGINT NOT NULL DEFAULT 0,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    tags TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE keys (
    token TEXT NOT NULL PRIMARY KEY,
    key_name TEXT,
    key_alias TEXT,
    user_id TEXT,
    team_id TEXT,
    organization_id TEXT,
    project_id TEXT,
    agent_id TEXT,
    models TEXT NOT NULL DEFAULT '[]',
    aliases TEXT NOT NULL DEFAULT '{}',
    access_group_ids TEXT NOT NULL DEFAULT '[]',
    allowed_routes TEXT NOT NULL DEFAULT '[]',
    key_type TEXT NOT NULL,
    allowed_ips TEXT NOT NULL DEFAULT '[]',
    blocked BIGINT NOT NULL DEFAULT 0,
    expires BIGINT,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    budget_id TEXT,
    temp_budget_increase BIGINT,
    temp_budget_expiry BIGINT,
    throttle_on_budget_exceeded BIGINT NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '[]',
    tag_rpm_limit TEXT NOT NULL DEFAULT '{}',
    end_user_budget_id TEXT,
    default_estimated_output_tokens BIGINT,
    default_estimated_output_tokens_per_model TEXT NOT NULL DEFAULT '{}',
    enforced_params TEXT NOT NULL DEFAULT '[]',
    permissions TEXT NOT NULL DEFAULT '{}',
    metadata TEXT NOT NULL DEFAULT '{}',
    extra TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0,
    auto_rotate BIGINT NOT NULL DEFAULT 0,
    rotation_interval TEXT,
    rotation_count BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    created_by TEXT,
    updated_at BIGINT NOT NULL,
    updated_by TEXT
);
CREATE UNIQUE INDEX keys_by_alias ON keys (key_alias);
CREATE INDEX keys_of_user ON keys (user_id, team_id);
CREATE INDEX keys_of_team ON keys (team_id);
CREATE INDEX keys_of_organization ON keys (organization_id);
CREATE INDEX keys_of_project ON keys (project_id);

-- A rotated key's old hash; it resolves to the active one until revoke_at.
CREATE TABLE deprecated_keys (
    token TEXT NOT NULL PRIMARY KEY,
    active_token TEXT NOT NULL REFERENCES keys (token) ON UPDATE CASCADE ON DELETE CASCADE,
    revoke_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX deprecated_keys_by_active_token ON deprecated_keys (active_token);

CREATE TABLE end_users (
    user_id TEXT NOT NULL PRIMARY KEY,
    alias TEXT,
    blocked BIGINT NOT NULL DEFAULT 0,
    models TEXT NOT NULL DEFAULT '[]',
    budget_id TEXT,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    metadata TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE tags (
    tag_name TEXT NOT NULL PRIMARY KEY,
    description TEXT,
    models TEXT NOT NULL DEFAULT '[]',
    budget_id TEXT,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE access_groups (
    access_group_id TEXT NOT NULL PRIMARY KEY,
    access_group_name TEXT NOT NULL,
    description TEXT,
    access_model_names TEXT NOT NULL DEFAULT '[]',
    assigned_team_ids TEXT NOT NULL DEFAULT '[]',
    assigned_key_ids TEXT NOT NULL DEFAULT '[]',
    budget_id TEXT,
    max_budget BIGINT,
    soft_budget BIGINT,
    budget_duration TEXT,
    budget_limits TEXT NOT NULL DEFAULT '[]',
    rpm_limit BIGINT,
    tpm_limit BIGINT,
    tpd_limit BIGINT,
    max_parallel_requests BIGINT,
    model_max_budget TEXT NOT NULL DEFAULT '{}',
    model_rpm_limit TEXT NOT NULL DEFAULT '{}',
    model_tpm_limit TEXT NOT NULL DEFAULT '{}',
    spend BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX access_groups_by_name ON access_groups (access_group_name);

-- What LiteLLM lets a key, team or user do besides calling models; kept for its holders.
CREATE TABLE object_permissions (
    object_permission_id TEXT NOT NULL PRIMARY KEY,
    permissions TEXT NOT NULL DEFAULT '{}'
);

-- A claim of a token that stands for a key; an empty issuer is any.
CREATE TABLE jwt_key_mappings (
    id TEXT NOT NULL PRIMARY KEY,
    jwt_issuer TEXT NOT NULL DEFAULT '',
    jwt_claim_name TEXT NOT NULL,
    jwt_claim_value TEXT NOT NULL,
    token TEXT NOT NULL REFERENCES keys (token) ON UPDATE CASCADE ON DELETE CASCADE,
    description TEXT,
    is_active BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX jwt_key_mappings_by_claim ON jwt_key_mappings (jwt_issuer, jwt_claim_name, jwt_claim_value);

-- Every change of spend, once. The day is that of the admission.
CREATE TABLE ledger (
    day BIGINT NOT NULL,
    id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    status TEXT NOT NULL,
    admitted_at BIGINT NOT NULL,
    settled_at BIGINT NOT NULL,
    token TEXT,
    user_id TEXT,
    team_id TEXT,
    organization_id TEXT,
    project_id TEXT,
    end_user_id TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    model TEXT NOT NULL,
    usage TEXT NOT NULL,
    cost BIGINT NOT NULL,
    price_version TEXT NOT NULL,
    estimated BIGINT NOT NULL DEFAULT 0,
    accounts TEXT NOT NULL,
    PRIMARY KEY (day, id, sequence)
);
CREATE INDEX ledger_by_id ON ledger (id);
CREATE INDEX ledger_by_settlement ON ledger (settled_at, id, sequence);
CREATE INDEX ledger_of_key ON ledger (token, settled_at, id, sequence);

-- The sums of days that are no longer in the ledger.
CREATE TABLE ledger_checkpoint (
    scope TEXT NOT NULL,
    period_id TEXT NOT NULL,
    spend BIGINT NOT NULL,
    PRIMARY KEY (scope, period_id)
);

-- What each account has spent. The period `total` never ends.
CREATE TABLE period_spend (
    scope TEXT NOT NULL,
    period_id TEXT NOT NULL,
    period_start BIGINT NOT NULL,
    period_end BIGINT NOT NULL,
    spend BIGINT NOT NULL,
    PRIMARY KEY (scope, period_id)
);

-- What each scope used of each model on each UTC day.
CREATE TABLE daily_spend (
    day BIGINT NOT NULL,
    scope TEXT NOT NULL,
    model TEXT NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    spend BIGINT NOT NULL,
    PRIMARY KEY (day, scope, model)
);

CREATE TABLE audit_log (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_by_key TEXT,
    action TEXT NOT NULL,
    table_name TEXT NOT NULL,
    object_id TEXT NOT NULL,
    before_value TEXT,
    updated_values TEXT
);
CREATE INDEX audit_log_by_time ON audit_log (at);
CREATE INDEX audit_log_of_object ON audit_log (table_name, object_id, at);

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row: how often rows other than the ledger's were written. Other processes read it to know when to forget.
CREATE TABLE directory_version (
    id BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO directory_version (id, version) VALUES (1, 0);
