-- The tables and columns of a LiteLLM database that matter to an import, of the version whose behaviour the
-- conformance list describes.
CREATE TABLE "LiteLLM_BudgetTable" (
    "budget_id" TEXT PRIMARY KEY, "max_budget" DOUBLE PRECISION, "soft_budget" DOUBLE PRECISION,
    "max_parallel_requests" INTEGER, "tpm_limit" BIGINT, "rpm_limit" BIGINT, "tpd_limit" BIGINT,
    "model_max_budget" JSONB, "budget_duration" TEXT, "budget_reset_at" TIMESTAMP(3), "allowed_models" TEXT[] DEFAULT '{}',
    "temp_budget_increase" DOUBLE PRECISION, "temp_budget_expiry" TIMESTAMP(3),
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "created_by" TEXT NOT NULL DEFAULT 'admin',
    "updated_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updated_by" TEXT NOT NULL DEFAULT 'admin');
CREATE TABLE "LiteLLM_BudgetWindowSpend" (
    "entity_type" TEXT, "entity_id" TEXT, "window_duration" TEXT, "window_start" TIMESTAMP(3),
    "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, PRIMARY KEY ("entity_type", "entity_id", "window_duration"));
CREATE TABLE "LiteLLM_ObjectPermissionTable" (
    "object_permission_id" TEXT PRIMARY KEY, "mcp_servers" TEXT[] DEFAULT '{}', "mcp_access_groups" TEXT[] DEFAULT '{}',
    "mcp_tool_permissions" JSONB, "mcp_toolsets" TEXT[] DEFAULT '{}', "blocked_tools" TEXT[] DEFAULT '{}',
    "vector_stores" TEXT[] DEFAULT '{}', "agents" TEXT[] DEFAULT '{}', "agent_access_groups" TEXT[] DEFAULT '{}',
    "models" TEXT[] DEFAULT '{}', "search_tools" TEXT[] DEFAULT '{}', "mcp_tool_search_enabled" BOOLEAN,
    "skills" TEXT[] DEFAULT '{}');
CREATE TABLE "LiteLLM_ModelTable" (
    "id" SERIAL PRIMARY KEY, "aliases" JSONB, "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "created_by" TEXT,
    "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "updated_by" TEXT);
CREATE TABLE "LiteLLM_OrganizationTable" (
    "organization_id" TEXT PRIMARY KEY, "organization_alias" TEXT NOT NULL,
    "budget_id" TEXT NOT NULL REFERENCES "LiteLLM_BudgetTable", "metadata" JSONB NOT NULL DEFAULT '{}',
    "models" TEXT[] DEFAULT '{}', "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "model_spend" JSONB NOT NULL DEFAULT '{}',
    "object_permission_id" TEXT, "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "created_by" TEXT NOT NULL DEFAULT 'admin', "updated_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_by" TEXT NOT NULL DEFAULT 'admin');
CREATE TABLE "LiteLLM_OrganizationMembership" (
    "user_id" TEXT, "organization_id" TEXT, "user_role" TEXT, "spend" DOUBLE PRECISION DEFAULT 0, "budget_id" TEXT,
    "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY ("user_id", "organization_id"));
CREATE TABLE "LiteLLM_TeamTable" (
    "team_id" TEXT PRIMARY KEY, "team_alias" TEXT, "organization_id" TEXT, "object_permission_id" TEXT,
    "admins" TEXT[] DEFAULT '{}', "members" TEXT[] DEFAULT '{}', "members_with_roles" JSONB NOT NULL DEFAULT '{}',
    "metadata" JSONB NOT NULL DEFAULT '{}', "max_budget" DOUBLE PRECISION, "soft_budget" DOUBLE PRECISION,
    "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "models" TEXT[] DEFAULT '{}', "max_parallel_requests" INTEGER,
    "tpm_limit" BIGINT, "rpm_limit" BIGINT, "tpd_limit" BIGINT, "budget_duration" TEXT, "budget_reset_at" TIMESTAMP(3),
    "budget_limits" JSONB, "blocked" BOOLEAN NOT NULL DEFAULT false, "model_spend" JSONB NOT NULL DEFAULT '{}',
    "model_max_budget" JSONB NOT NULL DEFAULT '{}', "router_settings" JSONB DEFAULT '{}',
    "team_member_permissions" TEXT[] DEFAULT '{}', "access_group_ids" TEXT[] DEFAULT '{}', "policies" TEXT[] DEFAULT '{}',
    "default_team_member_models" TEXT[] DEFAULT '{}', "model_id" INTEGER, "allow_team_guardrail_config" BOOLEAN DEFAULT false,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updated_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_TeamMembership" (
    "user_id" TEXT, "team_id" TEXT, "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "total_spend" DOUBLE PRECISION,
    "budget_id" TEXT, PRIMARY KEY ("user_id", "team_id"));
CREATE TABLE "LiteLLM_ProjectTable" (
    "project_id" TEXT PRIMARY KEY, "project_alias" TEXT, "description" TEXT, "team_id" TEXT, "budget_id" TEXT,
    "metadata" JSONB NOT NULL DEFAULT '{}', "models" TEXT[] DEFAULT '{}', "spend" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "model_spend" JSONB NOT NULL DEFAULT '{}', "model_rpm_limit" JSONB NOT NULL DEFAULT '{}',
    "model_tpm_limit" JSONB NOT NULL DEFAULT '{}', "blocked" BOOLEAN NOT NULL DEFAULT false, "object_permission_id" TEXT,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "created_by" TEXT,
    "updated_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updated_by" TEXT);
CREATE TABLE "LiteLLM_UserTable" (
    "user_id" TEXT PRIMARY KEY, "user_alias" TEXT, "user_email" TEXT, "sso_user_id" TEXT UNIQUE, "user_role" TEXT,
    "team_id" TEXT, "teams" TEXT[] DEFAULT '{}', "organization_id" TEXT, "password" TEXT,
    "password_reset_required" BOOLEAN DEFAULT false, "last_breach_check_at" TIMESTAMP(3), "max_budget" DOUBLE PRECISION,
    "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "models" TEXT[] DEFAULT '{}', "metadata" JSONB NOT NULL DEFAULT '{}',
    "max_parallel_requests" INTEGER, "tpm_limit" BIGINT, "rpm_limit" BIGINT, "budget_duration" TEXT,
    "budget_reset_at" TIMESTAMP(3), "allowed_cache_controls" TEXT[] DEFAULT '{}', "policies" TEXT[] DEFAULT '{}',
    "model_spend" JSONB NOT NULL DEFAULT '{}', "model_max_budget" JSONB NOT NULL DEFAULT '{}',
    "object_permission_id" TEXT, "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_VerificationToken" (
    "token" TEXT PRIMARY KEY, "key_name" TEXT, "key_alias" TEXT, "spend" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "total_spend" DOUBLE PRECISION, "expires" TIMESTAMP(3), "models" TEXT[] DEFAULT '{}', "aliases" JSONB NOT NULL DEFAULT '{}',
    "config" JSONB NOT NULL DEFAULT '{}', "router_settings" JSONB DEFAULT '{}', "user_id" TEXT, "team_id" TEXT,
    "agent_id" TEXT, "project_id" TEXT, "organization_id" TEXT, "permissions" JSONB NOT NULL DEFAULT '{}',
    "max_parallel_requests" INTEGER, "metadata" JSONB NOT NULL DEFAULT '{}', "blocked" BOOLEAN, "tpm_limit" BIGINT,
    "rpm_limit" BIGINT, "tpd_limit" BIGINT, "max_budget" DOUBLE PRECISION, "budget_duration" TEXT,
    "budget_reset_at" TIMESTAMP(3), "budget_limits" JSONB, "allowed_cache_controls" TEXT[] DEFAULT '{}',
    "allowed_routes" TEXT[] DEFAULT '{}', "key_type" TEXT DEFAULT 'default', "policies" TEXT[] DEFAULT '{}',
    "access_group_ids" TEXT[] DEFAULT '{}', "model_spend" JSONB NOT NULL DEFAULT '{}',
    "model_max_budget" JSONB NOT NULL DEFAULT '{}', "budget_fallbacks" JSONB DEFAULT '{}', "budget_id" TEXT,
    "object_permission_id" TEXT, "soft_budget_cooldown" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "created_by" TEXT, "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP,
    "updated_by" TEXT, "settings_updated_at" TIMESTAMP(3), "last_active" TIMESTAMP(3), "rotation_count" INTEGER DEFAULT 0,
    "auto_rotate" BOOLEAN DEFAULT false, "rotation_interval" TEXT, "last_rotation_at" TIMESTAMP(3),
    "key_rotation_at" TIMESTAMP(3));
CREATE TABLE "LiteLLM_DeprecatedVerificationToken" (
    "id" TEXT PRIMARY KEY, "token" TEXT UNIQUE NOT NULL, "active_token_id" TEXT NOT NULL, "revoke_at" TIMESTAMP(3) NOT NULL,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_JWTKeyMapping" (
    "id" TEXT PRIMARY KEY, "jwt_issuer" TEXT NOT NULL DEFAULT '', "jwt_claim_name" TEXT NOT NULL, "jwt_claim_value" TEXT NOT NULL,
    "token" TEXT NOT NULL, "description" TEXT, "is_active" BOOLEAN NOT NULL DEFAULT true,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updated_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "created_by" TEXT, "updated_by" TEXT, UNIQUE ("jwt_issuer", "jwt_claim_name", "jwt_claim_value"));
CREATE TABLE "LiteLLM_EndUserTable" (
    "user_id" TEXT PRIMARY KEY, "alias" TEXT, "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "allowed_model_region" TEXT,
    "default_model" TEXT, "models" TEXT[] DEFAULT '{}', "budget_id" TEXT, "object_permission_id" TEXT,
    "blocked" BOOLEAN NOT NULL DEFAULT false);
CREATE TABLE "LiteLLM_TagTable" (
    "tag_name" TEXT PRIMARY KEY, "description" TEXT, "models" TEXT[] DEFAULT '{}', "model_info" JSONB,
    "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "budget_id" TEXT, "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP,
    "created_by" TEXT, "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_AccessGroupTable" (
    "access_group_id" TEXT PRIMARY KEY, "access_group_name" TEXT UNIQUE NOT NULL, "description" TEXT,
    "access_model_names" TEXT[] DEFAULT '{}', "access_mcp_server_ids" TEXT[] DEFAULT '{}', "mcp_tool_permissions" JSONB,
    "access_agent_ids" TEXT[] DEFAULT '{}', "access_skill_names" TEXT[] DEFAULT '{}', "assigned_team_ids" TEXT[] DEFAULT '{}',
    "assigned_key_ids" TEXT[] DEFAULT '{}', "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "created_by" TEXT,
    "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "updated_by" TEXT);
CREATE TABLE "LiteLLM_ModelAccessGroupBudgetTable" (
    "access_group_name" TEXT PRIMARY KEY, "spend" DOUBLE PRECISION NOT NULL DEFAULT 0, "budget_id" TEXT,
    "created_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, "updated_at" TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_SpendLogs" (
    "request_id" TEXT PRIMARY KEY, "api_key" TEXT NOT NULL DEFAULT '', "spend" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "startTime" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "LiteLLM_CredentialsTable" (
    "credential_id" TEXT PRIMARY KEY, "credential_name" TEXT UNIQUE NOT NULL, "credential_values" JSONB NOT NULL);
CREATE TABLE "LiteLLM_Config" ("param_name" TEXT PRIMARY KEY, "param_value" JSONB);
