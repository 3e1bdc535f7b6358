//! The tables of the entities: which field lies in which column. Field and column have the same name.

use std::sync::LazyLock;

use super::super::Result;
use super::{Column, Columns, Row, Value};
use crate::domain::{
    AccessGroup, Budget, DeprecatedKey, EndUser, Key, KeyMapping, Member, ObjectPermission, Organization,
    OrganizationMember, Project, Scope, ScopeKind, SessionKey, Tag, Team, User, UserSession,
};

macro_rules! row {
    ($type:ident in $table:literal is $what:literal by $key:tt named $name:expr;
     $($field:ident),+; spends [$($spend:ident)?] as $scopes:expr $(; finds $found:ident)?) => {
        impl Row for $type {
            const TABLE: &'static str = $table;
            const WHAT: &'static str = $what;
            const KEY: &'static [&'static str] = &$key;
            const SPENDS: bool = row!(@has $($spend)?);

            fn columns() -> &'static [&'static str] {
                static COLUMNS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
                    // The types of the fields are found by inference; the function is never called.
                    fn names<T: Column>(_: fn(&$type) -> &T, field: &'static str, names: &mut Vec<&'static str>) {
                        T::names(field, names);
                    }
                    let mut all = Vec::new();
                    $(names(|row| &row.$field, stringify!($field), &mut all);)+
                    all
                });
                &COLUMNS
            }

            fn values(&self) -> Vec<Value> {
                let mut values = Vec::with_capacity(Self::columns().len());
                $(self.$field.put(&mut values);)+
                values
            }

            fn read(columns: &mut dyn Columns) -> Result<Self> {
                Ok($type { $($field: Column::get(columns)?,)+ $($spend: Column::get(columns)?,)? $($found: None,)? })
            }

            fn name(&self) -> String {
                let name: fn(&$type) -> String = $name;
                name(self)
            }

            fn scopes(&self) -> Vec<Scope> {
                let scopes: fn(&$type) -> Vec<Scope> = $scopes;
                scopes(self)
            }
        }
    };
    (@has) => { false };
    (@has $spend:ident) => { true };
}

row! { Key in "keys" is "key" by ["token"] named |key| key.token.to_string();
    token, first_token, key_name, key_alias, user_id, team_id, organization_id, project_id, agent_id, models, aliases,
    access_group_ids, allowed_routes, key_type, allowed_ips, blocked, expires, limits, budget_id, temp_budget_increase,
    temp_budget_expiry, throttle_on_budget_exceeded, tags, tag_rpm_limit, end_user_budget_id,
    default_estimated_output_tokens, default_estimated_output_tokens_per_model, enforced_params, permissions, metadata,
    extra, auto_rotate, rotation_interval, rotation_count, created_at, created_by, updated_at, updated_by;
    spends [spend] as |key| vec![key.scope()]
}

row! { Team in "teams" is "team" by ["team_id"] named |team| team.team_id.to_string();
    team_id, team_alias, organization_id, models, model_aliases, access_group_ids, blocked, limits,
    team_member_budget_id, team_member_permissions, tags, metadata, extra, created_at, updated_at;
    spends [spend] as |team| vec![Scope::new(ScopeKind::Team, &[&team.team_id])]
}

row! { Member in "team_members" is "team member" by ["team_id", "user_id"] named |member| {
        format!("{} in {}", member.user_id, member.team_id)
    };
    team_id, user_id, user_email, role, budget_id, allowed_models, limits;
    spends [spend] as |member| vec![Scope::new(ScopeKind::Member, &[&member.team_id, &member.user_id])]
}

row! { User in "users" is "user" by ["user_id"] named |user| user.user_id.to_string();
    user_id, user_alias, user_email, sso_user_id, user_role, organization_id, models, limits, metadata, extra,
    created_at, updated_at, admin_of;
    spends [spend] as |user| vec![Scope::new(ScopeKind::User, &[&user.user_id])]
}

row! { Organization in "organizations" is "organization" by ["organization_id"] named |organization| {
        organization.organization_id.to_string()
    };
    organization_id, organization_alias, budget_id, models, limits, metadata, created_at, updated_at;
    spends [spend] as |organization| vec![Scope::new(ScopeKind::Organization, &[&organization.organization_id])]
}

row! { Project in "projects" is "project" by ["project_id"] named |project| project.project_id.to_string();
    project_id, project_alias, team_id, budget_id, models, blocked, limits, tags, metadata, created_at, updated_at;
    spends [spend] as |project| vec![Scope::new(ScopeKind::Project, &[&project.project_id])]
}

row! { EndUser in "end_users" is "end user" by ["user_id"] named |user| user.user_id.to_string();
    user_id, alias, blocked, models, budget_id, limits, metadata;
    spends [spend] as |user| vec![Scope::new(ScopeKind::EndUser, &[&user.user_id])];
    finds dangling
}

row! { Tag in "tags" is "tag" by ["tag_name"] named |tag| tag.tag_name.to_string();
    tag_name, description, models, budget_id, limits;
    spends [spend] as |tag| vec![Scope::new(ScopeKind::Tag, &[&tag.tag_name])];
    finds dangling
}

row! { AccessGroup in "access_groups" is "access group" by ["access_group_id"] named |group| {
        group.access_group_id.to_string()
    };
    access_group_id, access_group_name, description, access_model_names, assigned_team_ids, assigned_key_ids, budget_id,
    limits;
    spends [spend] as |group| {
        // Limits may be charged by either; where both are one text it is one scope.
        let mut scopes = vec![Scope::new(ScopeKind::AccessGroup, &[&group.access_group_id])];
        if group.access_group_name != group.access_group_id {
            scopes.push(Scope::new(ScopeKind::AccessGroup, &[&group.access_group_name]));
        }
        scopes
    };
    finds dangling
}

row! { Budget in "budgets" is "budget" by ["budget_id"] named |budget| budget.budget_id.clone();
    budget_id, limits, allowed_models, created_at, updated_at;
    spends [] as |_| Vec::new()
}

row! { DeprecatedKey in "deprecated_keys" is "rotated key" by ["token"] named |key| key.token.to_string();
    token, active_token, revoke_at, created_at;
    spends [] as |_| Vec::new()
}

row! { OrganizationMember in "organization_members" is "organization member" by ["organization_id", "user_id"]
    named |member| format!("{} in {}", member.user_id, member.organization_id);
    organization_id, user_id, user_role, budget_id, spend;
    spends [] as |_| Vec::new()
}

row! { ObjectPermission in "object_permissions" is "object permission" by ["object_permission_id"] named |row| {
        row.object_permission_id.clone()
    };
    object_permission_id, permissions;
    spends [] as |_| Vec::new()
}

row! { KeyMapping in "jwt_key_mappings" is "key mapping" by ["id"] named |mapping| mapping.id.clone();
    id, jwt_issuer, jwt_claim_name, jwt_claim_value, token, description, is_active, created_at, updated_at;
    spends [] as |_| Vec::new()
}

row! { SessionKey in "session_keys" is "session key" by ["kid"] named |key| key.kid.to_string();
    kid, period_start, seed, created_at;
    spends [] as |_| Vec::new()
}

row! { UserSession in "sessions" is "session" by ["sid"] named |session| session.sid.to_string();
    sid, user_id, team_id, kid, issued_at, expires_at, revoked_at;
    spends [] as |_| Vec::new()
}
