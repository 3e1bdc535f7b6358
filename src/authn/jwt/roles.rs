//! Roles and scopes of a token: whether its bearer administers the gate, acts for a team or for itself, and what models
//! and routes that is good for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::authn::assertion::RoleClaim;
use crate::authn::claims::{self, ClaimPath};
use crate::config::{Issuer, JwtAuth, RoleMap, RolePermission};
use crate::domain::{Denial, ErrorType, Role, glob};

/// See the module.
#[derive(Debug)]
pub(super) struct Roles {
    admin_scope: Option<String>,
    admin_routes: Vec<String>,
    /// The claim of roles, and what they are here.
    claim: Option<ClaimPath>,
    mappings: Vec<(String, Role)>,
    /// The claim of roles that make an internal user, and which do.
    user_roles: Option<ClaimPath>,
    allowed: Vec<String>,
    enforce: bool,
    permissions: Vec<RolePermission>,
    /// What each scope is good for, where scopes decide.
    scopes: Option<BTreeMap<String, (Vec<String>, Vec<String>)>>,
    /// Roles that are written to the directory.
    written: Vec<RoleMap>,
}

/// What roles and scopes say.
#[derive(Debug, Default)]
pub(super) struct FoundRoles {
    /// An administrator by scope or mapped role.
    pub is_admin: bool,
    pub claim: RoleClaim,
    /// Whether the object id is a team's.
    pub object_is_team: bool,
    pub models: Vec<Vec<String>>,
    pub routes: Vec<Vec<String>>,
}

impl Roles {
    pub(super) fn new(
        jwt: &JwtAuth,
        permissions: &[RolePermission],
        issuer: Option<&Issuer>,
    ) -> Result<Roles, (&'static str, String)> {
        // An issuer that was listed so that its users may call appoints nobody unless that is said.
        let admin_scope = match issuer {
            Some(issuer) => issuer.admin_jwt_scope.clone(),
            None => Some(jwt.admin_jwt_scope.clone()),
        };
        let admin_scope = admin_scope.filter(|scope| !scope.is_empty());
        let appoints =
            |role: &Role| admin_scope.is_some() || !matches!(role, Role::ProxyAdmin | Role::ProxyAdminViewer);
        let path = |name: &'static str, text: &Option<String>| {
            text.as_ref().map(|text| ClaimPath::parse(text).map_err(|error| (name, error))).transpose()
        };
        let scopes = jwt.enforce_scope_based_access.then(|| {
            let mut table: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
            for mapping in &jwt.scope_mappings {
                let (models, routes) = table.entry(mapping.scope.clone()).or_default();
                models.extend(mapping.models.iter().cloned());
                routes.extend(mapping.routes.iter().cloned());
            }
            table
        });
        Ok(Roles {
            admin_routes: jwt.admin_allowed_routes.clone(),
            claim: path("roles_jwt_field", &jwt.roles_jwt_field)?,
            mappings: jwt
                .role_mappings
                .iter()
                .filter(|mapping| appoints(&mapping.internal_role))
                .map(|mapping| (mapping.role.clone(), mapping.internal_role))
                .collect(),
            user_roles: path("user_roles_jwt_field", &jwt.user_roles_jwt_field)?,
            allowed: jwt.user_allowed_roles.clone().unwrap_or_default(),
            enforce: jwt.enforce_rbac,
            permissions: permissions.to_vec(),
            scopes,
            written: jwt
                .jwt_litellm_role_map
                .iter()
                .filter(|map| jwt.sync_user_role_and_teams && appoints(&map.litellm_role))
                .cloned()
                .collect(),
            admin_scope,
        })
    }

    /// What the roles and scopes of a token come to. The first of these counts: the scope of administrators, a team, a
    /// user, a mapped role.
    pub(super) fn of(
        &self,
        claims: &Map<String, Value>,
        acts_for_team: bool,
        names_user: bool,
    ) -> Result<FoundRoles, Denial> {
        let scopes = claims::scopes(claims);
        let roles = self.claim.as_ref().and_then(|path| path.get(claims)).map(claims::list).unwrap_or_default();
        let mapped =
            self.mappings.iter().find(|(name, _)| roles.iter().any(|role| role == name)).map(|(_, role)| *role);
        let of_user = self.user_roles.as_ref().and_then(|path| path.get(claims)).map(claims::list).unwrap_or_default();
        let is_allowed = of_user.iter().any(|role| self.allowed.iter().any(|allowed| allowed == role));
        let is_admin = self.admin_scope.as_ref().is_some_and(|scope| scopes.contains(&scope.as_str()));
        let role = if is_admin {
            Some(Role::ProxyAdmin)
        } else if acts_for_team {
            Some(Role::Team)
        } else if names_user || is_allowed {
            Some(Role::InternalUser)
        } else {
            mapped
        };
        let mut found = FoundRoles { object_is_team: mapped == Some(Role::Team), ..FoundRoles::default() };
        if role == Some(Role::ProxyAdmin) {
            found.is_admin = true;
            found.claim = RoleClaim::Is(Role::ProxyAdmin);
            found.routes.push(self.admin_routes.clone());
            return Ok(found);
        }
        if self.enforce {
            let role =
                role.ok_or_else(|| refused("jwt.role", "the roles of this token are none that may call here"))?;
            let permission = self.permissions.iter().find(|permission| permission.role == role);
            let permission = permission.ok_or_else(|| {
                refused("jwt.role_permissions", "the role of this token may not call: role_permissions has none for it")
            })?;
            found.models.extend(permission.models.clone());
            found.routes.extend(permission.routes.clone());
        }
        if let Some(table) = &self.scopes {
            let own = || scopes.iter().filter_map(|scope| table.get(*scope));
            found.models.push(own().flat_map(|(models, _)| models.iter().cloned()).collect());
            // A scope without routes is good for all of them.
            if own().next().is_some() && own().all(|(_, routes)| !routes.is_empty()) {
                found.routes.push(own().flat_map(|(_, routes)| routes.iter().cloned()).collect());
            }
        }
        let written = self.written.iter().find(|map| roles.iter().any(|role| glob::matches_wild(&map.jwt_role, role)));
        if let Some(map) = written {
            found.claim = RoleClaim::Is(map.litellm_role);
        }
        Ok(found)
    }
}

/// 403 of type `auth_error`: the token is good, what it says is too little.
fn refused(reason: &'static str, message: &'static str) -> Denial {
    Denial { status: 403, ..Denial::new(ErrorType::AuthError, reason, message) }
}
