INSERT INTO "LiteLLM_BudgetTable" ("budget_id", "max_budget", "soft_budget", "budget_duration", "budget_reset_at", "rpm_limit", "allowed_models", "temp_budget_increase") VALUES
    ('of-org', 0.1::float8 + 0.2::float8, NULL, '30d', '2026-12-01', NULL, '{}', NULL),
    ('of-members', 2, NULL, '1d', '2026-11-25', 7, '{gpt-4o-mini}', 5),
    ('of-customers', 1, 0.5, NULL, NULL, NULL, '{}', NULL),
    ('empty', NULL, NULL, NULL, NULL, NULL, '{}', NULL),
    ('not-a-number', 'NaN', NULL, NULL, NULL, NULL, '{}', NULL);
INSERT INTO "LiteLLM_ObjectPermissionTable" ("object_permission_id", "mcp_servers", "models") VALUES ('perm', '{github}', '{gpt-4o}');
INSERT INTO "LiteLLM_ModelTable" ("id", "aliases") VALUES (4, '{"fast": "gpt-4o-mini"}');
INSERT INTO "LiteLLM_OrganizationTable" ("organization_id", "organization_alias", "budget_id", "spend", "models") VALUES ('org', 'Acme', 'of-org', 0.125, '{gpt-4o}');
INSERT INTO "LiteLLM_OrganizationMembership" ("user_id", "organization_id", "user_role", "spend", "budget_id") VALUES
    ('ada', 'org', 'org_admin', 0.5, NULL), ('bob', 'org', 'internal_user', 0, 'empty');
INSERT INTO "LiteLLM_UserTable" ("user_id", "user_email", "user_role", "sso_user_id", "password", "max_budget", "spend", "budget_duration", "budget_reset_at", "metadata", "teams", "organization_id") VALUES
    ('ada', 'Ada@example.com', 'proxy_admin', 'sso-ada', 'scrypt:geheim', 10, 0.1::float8 + 0.2::float8, '7d', '2026-11-30', '{"scim_active": false, "guardrails": ["g"]}', '{team}', 'org'),
    ('bob', 'bob@example.com', 'wizard', NULL, NULL, NULL, 0, NULL, NULL, '{}', '{}', NULL),
    ('litellm-proxy-budget', NULL, NULL, NULL, NULL, 100, 12.5, '30d', '2026-12-01', '{}', '{}', NULL);
INSERT INTO "LiteLLM_TeamTable" ("team_id", "team_alias", "organization_id", "members_with_roles", "members", "metadata", "max_budget", "spend", "budget_duration", "budget_reset_at", "budget_limits", "blocked", "model_id", "router_settings") VALUES
    ('team', 'Search', 'org', '[{"user_id": "ada", "user_email": null, "role": "admin"}, {"user_id": null, "user_email": "BOB@example.com", "role": "user"}, {"user_id": null, "user_email": "nobody@example.com", "role": "user"}]', '{legacy}',
     '{"team_member_budget_id": "of-members", "model_rpm_limit": {"gpt-4o": 3}, "tags": ["prod"], "owner": "search"}', 5, 1.25, '30d', '2026-11-24 11:00:00',
     '[{"budget_duration": "1d", "max_budget": 0.75, "reset_at": "2026-11-25T00:00:00Z"}, {"budget_duration": "30d", "max_budget": null}]', true, 4, '{"fallbacks": []}'),
    ('bare', NULL, NULL, '{}', '{}', '{}', NULL, 0, NULL, NULL, NULL, false, NULL, NULL),
    ('negative', NULL, NULL, '[{"user_id": "ada", "role": "user"}]', '{}', '{}', -1, 3, NULL, NULL, NULL, false, NULL, NULL);
INSERT INTO "LiteLLM_BudgetWindowSpend" VALUES ('team', 'team', '1d', '2026-11-24', 0.5), ('team', 'team', '1h', '2026-11-24', 0.25),
    ('team', 'team', '30d', '2026-11-01', 0.25), ('user', 'gone', '30d', '2026-11-01', 0.25), ('planet', 'earth', '30d', '2026-11-01', 1);
INSERT INTO "LiteLLM_TeamMembership" VALUES ('ada', 'team', 0.75, 3, NULL), ('joined', 'team', 0, NULL, 'empty'), ('ada', 'negative', 1, 1, NULL), ('ada', 'gone', 1, 1, NULL);
INSERT INTO "LiteLLM_ProjectTable" ("project_id", "project_alias", "description", "team_id", "budget_id", "spend", "model_rpm_limit") VALUES ('project', 'Crawler', 'crawls', 'team', 'of-customers', 0.25, '{"gpt-4o": 9}');
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_name", "key_alias", "spend", "total_spend", "expires", "models", "aliases", "user_id", "team_id", "project_id", "organization_id", "permissions", "max_parallel_requests", "metadata", "blocked", "tpm_limit", "rpm_limit", "max_budget", "budget_duration", "budget_reset_at", "budget_limits", "allowed_routes", "key_type", "access_group_ids", "model_spend", "model_max_budget", "budget_id", "object_permission_id", "rotation_count", "auto_rotate", "rotation_interval", "created_by", "config", "budget_fallbacks") VALUES
    (:full, 'sk-...full', 'full', 0.3, 4.5, '2026-12-24 18:30:00.25', '{gpt-4o,gpt-4o-mini}', '{"fast": "gpt-4o-mini"}', 'ada', 'team', 'project', 'org', '{"get_spend_routes": true}', 3,
     '{"tags": ["ci"], "model_tpm_limit": {"gpt-4o": 1000}, "tag_rpm_limit": {"ci": 2}, "temp_budget_increase": 0.5, "temp_budget_expiry": "2026-12-01T00:00:00Z", "enforced_params": ["user"], "end_user_budget_id": "of-customers", "mcp_rpm_limit": {"github": 1}, "note": "mine"}',
     NULL, 100000, 60, 1.5, '1d', '2026-11-25', '[{"budget_duration": "30d", "max_budget": 40}]', '{llm_api_routes}', 'llm_api', '{group}',
     '{"gpt-4o": 0.2, "other": 1}', '{"gpt-4o": {"budget_limit": 2}, "gpt-4o-mini": {"max_budget": 1, "time_period": "1d", "rpm_limit": 5}, "old": 3}', NULL, 'perm', 2, true, '30d', 'ada', '{"model_list": []}', '{"gpt-4o": ["gpt-4o-mini"]}');
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_alias", "blocked", "spend", "budget_id") VALUES (:blocked, NULL, true, 0, 'of-customers');
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_alias", "expires") VALUES (:expired, 'expired', '2026-01-01');
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_alias", "spend", "max_budget", "budget_reset_at") VALUES (:life, 'full', 0.1::float8 + 0.2::float8, 1, NULL);
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_alias", "team_id") VALUES (:orphan, 'orphan', 'gone'), (:session, 'session', 'litellm-dashboard');
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_alias") VALUES ('sk-in-the-clear-0123456789', NULL);
INSERT INTO "LiteLLM_VerificationToken" ("token", "key_alias", "budget_duration") VALUES (:yearly, 'yearly', '1 fortnight');
INSERT INTO "LiteLLM_DeprecatedVerificationToken" ("id", "token", "active_token_id", "revoke_at") VALUES ('1', :rotated, :full, '2026-11-25'), ('2', :over, :full, '2026-11-01');
INSERT INTO "LiteLLM_JWTKeyMapping" ("id", "jwt_claim_name", "jwt_claim_value", "token") VALUES ('m1', 'sub', 'svc', :full), ('m2', 'sub', 'other', :session);
INSERT INTO "LiteLLM_EndUserTable" ("user_id", "alias", "spend", "budget_id", "blocked", "default_model") VALUES ('customer', 'C', 0.875, 'of-customers', true, 'gpt-4o'), ('plain', NULL, 0, NULL, false, NULL), ('unbounded', NULL, 0, 'not-a-number', false, NULL);
INSERT INTO "LiteLLM_TagTable" ("tag_name", "description", "models", "model_info", "spend", "budget_id") VALUES ('prod', 'production', '{gpt-4o}', '{"gpt-4o": "x"}', 0.5, 'of-org');
INSERT INTO "LiteLLM_AccessGroupTable" ("access_group_id", "access_group_name", "access_model_names", "access_mcp_server_ids", "assigned_team_ids") VALUES ('group', 'premium', '{gpt-4o}', '{github}', '{team}');
INSERT INTO "LiteLLM_ModelAccessGroupBudgetTable" ("access_group_name", "spend", "budget_id") VALUES ('premium', 2, 'of-org'), ('configured', 1, 'empty');
ALTER TABLE "LiteLLM_VerificationToken" ADD COLUMN "invented_later" TEXT;
UPDATE "LiteLLM_VerificationToken" SET "invented_later" = 'x' WHERE "key_alias" IN ('orphan', 'expired');
INSERT INTO "LiteLLM_SpendLogs" ("request_id") VALUES ('r');
INSERT INTO "LiteLLM_CredentialsTable" VALUES ('c', 'openai', '{"api_key": "geheim"}');
