//! What the claims of a verified token say: the configuration's claim paths, compiled, and the assertion they make.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::roles::Roles;
use crate::authn::assertion::{Assertion, KeyClaim, Named, Rules, TeamClaim};
use crate::authn::claims::{self, ClaimPath};
use crate::config::{Issuer, JwtAuth, RolePermission, Unregistered};
use crate::domain::{AuthMethod, Denial, ErrorType, Grant, Trace};
use crate::expression::Expression;

/// See the module. One for each issuer.
#[derive(Debug)]
pub struct Mapping {
    user_id: Option<ClaimPath>,
    user_email: Option<ClaimPath>,
    team_id: Option<ClaimPath>,
    team_alias: Option<ClaimPath>,
    team_ids: Option<ClaimPath>,
    org_id: Option<ClaimPath>,
    org_alias: Option<ClaimPath>,
    end_user: Option<ClaimPath>,
    object_id: Option<ClaimPath>,
    /// `sub`, where the configuration names no claim for users.
    subject: Option<ClaimPath>,
    virtual_key: Option<(Arc<str>, ClaimPath)>,
    unregistered: Unregistered,
    map_existing_key: bool,
    roles: Roles,
    /// What stands before the ids of the issuer's users, so that they are nobody else's.
    user_id_prefix: Option<String>,
    /// What must be true of the claims.
    custom_validate: Option<Expression>,
    team_default: Option<Arc<str>>,
    rules: Arc<Rules>,
    /// Routes of callers for a team, where the operator says which. Those that LiteLLM has without being told bind the
    /// choice among several teams only, as there.
    team_routes: Option<Vec<String>>,
    /// What of them holds for administrators by scope.
    admin_rules: Arc<Rules>,
}

impl Mapping {
    /// Compiles the options, an issuer's own ones before the general.
    ///
    /// # Errors
    /// The option whose path cannot be read, and why.
    pub fn new(
        jwt: &JwtAuth,
        permissions: &[RolePermission],
        issuer: Option<&Issuer>,
    ) -> Result<Mapping, (&'static str, String)> {
        let none = Issuer::default();
        let own = issuer.unwrap_or(&none);
        let path = |name: &'static str, own: Option<&String>, general: Option<&String>| {
            let text = own.or(general);
            text.map(|text| ClaimPath::parse(text).map_err(|error| (name, error))).transpose()
        };
        let user_id = path("user_id_jwt_field", own.user_id_jwt_field.as_ref(), jwt.user_id_jwt_field.as_ref())?;
        let user_email =
            path("user_email_jwt_field", own.user_email_jwt_field.as_ref(), jwt.user_email_jwt_field.as_ref())?;
        let team_id = path("team_id_jwt_field", own.team_id_jwt_field.as_ref(), jwt.team_id_jwt_field.as_ref())?;
        let team_alias = path("team_alias_jwt_field", None, jwt.team_alias_jwt_field.as_ref())?;
        let object_id = path("object_id_jwt_field", None, jwt.object_id_jwt_field.as_ref())?;
        let names_users = user_id.is_some() || user_email.is_some() || object_id.is_some();
        let key_claim = own.virtual_key_claim_field.as_ref().or(jwt.virtual_key_claim_field.as_ref());
        let virtual_key = path("virtual_key_claim_field", key_claim, None)?;
        let rules = Rules {
            team_required: team_id.is_some() || team_alias.is_some(),
            team_upsert: jwt.team_id_upsert,
            user_upsert: jwt.user_id_upsert,
            join_claimed_teams: jwt.upsert_sso_user_to_team,
            team_claim_fallback: jwt.team_claim_fallback,
            fallback_to_db_teams: jwt.fallback_to_db_teams,
            enforce_team_based_model_access: jwt.enforce_team_based_model_access,
            sync_user_role_and_teams: jwt.sync_user_role_and_teams,
            allowed_email_domain: jwt.user_allowed_email_domain.clone(),
            team_routes: jwt.team_allowed_routes.clone(),
            team_header: true,
            any_team: false,
        };
        // They call for no team, and a scope that is theirs for now is written nowhere for good.
        let admin_rules = Rules {
            user_upsert: rules.user_upsert,
            allowed_email_domain: rules.allowed_email_domain.clone(),
            team_header: true,
            any_team: true,
            ..Rules::default()
        };
        Ok(Mapping {
            team_ids: path("team_ids_jwt_field", own.team_ids_jwt_field.as_ref(), jwt.team_ids_jwt_field.as_ref())?,
            org_id: path("org_id_jwt_field", own.org_id_jwt_field.as_ref(), jwt.org_id_jwt_field.as_ref())?,
            org_alias: path("org_alias_jwt_field", None, jwt.org_alias_jwt_field.as_ref())?,
            end_user: path(
                "end_user_id_jwt_field",
                own.end_user_id_jwt_field.as_ref(),
                jwt.end_user_id_jwt_field.as_ref(),
            )?,
            subject: if names_users { None } else { ClaimPath::parse("sub").ok() },
            virtual_key: key_claim.map(|name| Arc::from(name.as_str())).zip(virtual_key),
            unregistered: own.unregistered_jwt_client_behavior.unwrap_or(jwt.unregistered_jwt_client_behavior),
            map_existing_key: jwt.auto_register_map_existing_key,
            user_id_prefix: own.user_id_prefix.clone(),
            roles: Roles::new(jwt, permissions, issuer)?,
            custom_validate: jwt
                .custom_validate
                .as_deref()
                .map(|text| Expression::over_claims(text).map_err(|error| ("custom_validate", error.to_string())))
                .transpose()?,
            team_default: jwt.team_id_default.as_deref().map(Arc::from),
            user_id,
            user_email,
            team_id,
            team_alias,
            object_id,
            rules: Arc::new(rules),
            admin_rules: Arc::new(admin_rules),
            team_routes: Some(&jwt.team_allowed_routes)
                .filter(|routes| **routes != JwtAuth::default().team_allowed_routes)
                .cloned(),
        })
    }

    /// What the claims say of their bearer.
    ///
    /// # Errors
    /// 403 where they give no role and one is needed, or too little.
    pub fn assertion(&self, issuer: &Arc<str>, claims: Map<String, Value>) -> Result<Assertion, Denial> {
        self.validate(&claims)?;
        let one = |path: &Option<ClaimPath>| -> Option<Arc<str>> {
            let value = path.as_ref()?.get(&claims)?;
            claims::scalar(value).map(|text| Arc::from(text.as_ref()))
        };
        let mut user_id = one(&self.user_id);
        let user_email = one(&self.user_email).filter(|_| !claims::is_email_unverified(&claims));
        let mut team = one(&self.team_id).map(Named::Id);
        if team.is_none() {
            team = one(&self.team_alias).map(Named::Alias);
        }
        let given = self.team_ids.as_ref().and_then(|path| path.get(&claims)).filter(|value| !value.is_null());
        let list = given.map(claims::list).unwrap_or_default();
        let list: Vec<Arc<str>> = list.iter().map(|id| Arc::from(id.as_ref())).collect();
        let list_given = given.is_some();
        let acts_for_team = team.is_some() || !list.is_empty() || self.team_default.is_some();
        let mut found = self.roles.of(&claims, acts_for_team, user_id.is_some() || user_email.is_some())?;
        if acts_for_team && !found.is_admin {
            found.routes.extend(self.team_routes.clone());
        }
        match (one(&self.object_id), found.object_is_team) {
            (Some(id), true) if team.is_none() => team = Some(Named::Id(id)),
            (Some(id), false) if user_id.is_none() => user_id = Some(id),
            _ => {}
        }
        if user_id.is_none() && user_email.is_none() {
            user_id = one(&self.subject);
        }
        if let (Some(prefix), Some(id)) = (&self.user_id_prefix, &user_id) {
            user_id = Some(format!("{prefix}{id}").into());
        }
        let organization = one(&self.org_id).map(Named::Id).or_else(|| one(&self.org_alias).map(Named::Alias));
        let key_claim = self.virtual_key.as_ref().map(|(claim, path)| KeyClaim {
            issuer: Arc::clone(issuer),
            claim: Arc::clone(claim),
            value: path.get(&claims).and_then(claims::scalar).map(|value| Arc::from(value.as_ref())),
            unregistered: self.unregistered,
            map_existing: self.map_existing_key,
        });
        let end_user = one(&self.end_user);
        let (teams, rules) = if found.is_admin {
            (TeamClaim::default(), &self.admin_rules)
        } else {
            (TeamClaim { one: team, list, list_given, default: self.team_default.clone() }, &self.rules)
        };
        let grant = Grant { models: found.models, routes: found.routes, end_user, claims, ..Grant::default() };
        Ok(Assertion {
            key_claim,
            user_id,
            user_email,
            role: found.claim,
            teams,
            organization,
            grant: Some(Arc::new(grant)),
            rules: Arc::clone(rules),
            ..Assertion::new(AuthMethod::Jwt)
        })
    }

    /// Refuses claims of which the operator's condition is not true; one that cannot be told is not.
    fn validate(&self, claims: &Map<String, Value>) -> Result<(), Denial> {
        let Some(condition) = &self.custom_validate else { return Ok(()) };
        match condition.evaluate(claims) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => tracing::info!(%error, "custom_validate cannot be told of a token, which is refused"),
        }
        let message = "the claims of this token are not accepted here (custom_validate)";
        Err(Denial { status: 403, ..Denial::new(ErrorType::AuthError, "jwt.custom_validate", message) })
    }

    /// Which claim gave what, for explanations.
    pub fn explain(&self, claims: &Map<String, Value>, trace: &mut Trace) {
        if !trace.is_on() {
            return;
        }
        let fields = [
            ("user", &self.user_id),
            ("user", &self.subject),
            ("e-mail", &self.user_email),
            ("team", &self.team_id),
            ("team alias", &self.team_alias),
            ("teams", &self.team_ids),
            ("organization", &self.org_id),
            ("organization alias", &self.org_alias),
            ("end user", &self.end_user),
            ("object", &self.object_id),
        ];
        for (what, path) in fields {
            let Some(path) = path else { continue };
            match path.get(claims).map(claims::list).filter(|values| !values.is_empty()) {
                Some(values) => trace.step("claim", format_args!("{path} gives {what} {}", values.join(", "))),
                None => trace.step("claim", format_args!("{path} is absent: no {what}")),
            }
        }
    }
}
