//! What a request must hold and may not hold, whoever sends it: required parameters, an end user, no tags of the
//! client's own, no destinations and credentials of the provider. Each is a fault of the request and answered with 400.

use std::borrow::Cow;

use crate::config::Config;
use crate::domain::{Api, Caller, Denial, ErrorType};
use crate::request::{BodyView, HttpRequest};

/// Headers in which a client names tags.
const TAG_HEADERS: [&str; 2] = ["x-litellm-tags", "x-tollward-tags"];

/// The parameter rules of the configuration, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Params {
    required: Vec<String>,
    needs_user: bool,
    refuses_tags: bool,
    allows_client_credentials: bool,
}

impl Params {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let general = &config.general_settings;
        Params {
            required: general.enforced_params.clone(),
            needs_user: general.enforce_user_param,
            refuses_tags: general.reject_clientside_metadata_tags,
            allows_client_credentials: general.allow_client_side_credentials,
        }
    }

    /// Checks the parameters of a request to a model; other requests pass. `end_user` is the end user found anywhere
    /// in the request, headers included; `has_member` whether an object of the body holds a member, which only a second
    /// reading tells.
    pub fn check(
        &self,
        caller: &Caller,
        http: &HttpRequest<'_>,
        api: Api,
        body: &BodyView<'_>,
        end_user: Option<&str>,
        has_member: impl Fn(&str, &str) -> bool,
    ) -> Result<(), Denial> {
        if !api.is_model_route() {
            return Ok(());
        }
        if let Some(name) = body.banned.as_deref().filter(|_| !self.allows_client_credentials) {
            let name = super::routes::shown(name);
            let message = format!("the parameter {name} is set by the gateway and not by clients; leave it out");
            let denial = Denial::new(ErrorType::BadRequest, "params.banned", message);
            return Err(Denial { param: Some(Cow::Owned(name)), ..denial });
        }
        if self.refuses_tags {
            let in_header = TAG_HEADERS.iter().any(|name| http.headers.get(name).is_some());
            if in_header || !body.tags.is_empty() || body.keys.iter().any(|key| key == "tags") {
                let message =
                    "tags are set by the gateway and not by clients; leave them out of metadata, tags and headers";
                return Err(Denial::new(ErrorType::BadRequest, "params.tags", message).param("tags"));
            }
        }
        if http.method != "POST" {
            return Ok(());
        }
        if self.needs_user && end_user.or(body.end_user.as_deref()).is_none_or(str::is_empty) {
            let message = "requests must name their end user; set the parameter user";
            return Err(Denial::new(ErrorType::BadRequest, "params.user", message).param("user"));
        }
        let of_key = caller.identity.key.as_ref().map_or(&[][..], |key| &key.enforced_params);
        match self.required.iter().chain(of_key).find(|name| !holds(body, &has_member, name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!("requests must hold the parameter {name}; add it");
                let denial = Denial::new(ErrorType::BadRequest, "params.required", message);
                Err(Denial { param: Some(Cow::Owned(name.clone())), ..denial })
            }
        }
    }
}

/// Whether the body holds a parameter. A dotted name that is no key itself looks one object deeper.
fn holds(body: &BodyView<'_>, has_member: impl Fn(&str, &str) -> bool, name: &str) -> bool {
    let has = |name: &str| body.keys.iter().any(|key| key == name);
    has(name) || name.split_once('.').is_some_and(|(object, member)| has(object) && has_member(object, member))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{AuthMethod, Identity, Key, KeyHash, Role, Timestamp};
    use crate::request::Headers;

    struct Case<'a> {
        method: &'a str,
        headers: &'a [(&'a str, &'a str)],
        /// A member of an object of the body.
        member: Option<(&'a str, &'a str)>,
        view: BodyView<'a>,
        api: Api,
        key_params: &'a [&'a str],
    }

    fn case<'a>(keys: &[&'a str]) -> Case<'a> {
        let keys = keys.iter().map(|key| Cow::Borrowed(*key)).collect();
        let view = BodyView { keys, ..BodyView::default() };
        Case { method: "POST", headers: &[], member: None, view, api: Api::OpenAiChat, key_params: &[] }
    }

    fn check(case: &Case<'_>, change: impl FnOnce(&mut crate::config::General)) -> Result<(), Denial> {
        let mut config = Config::default();
        change(&mut config.general_settings);
        let mut key = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
        key.enforced_params = case.key_params.iter().map(|&name| name.to_owned()).collect();
        let identity = Arc::new(Identity { key: Some(key), ..Identity::default() });
        let caller = Caller::new(AuthMethod::VirtualKey, Role::InternalUser, identity);
        let http = HttpRequest {
            method: case.method,
            path: "/v1/chat/completions",
            headers: Headers(case.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()),
            body: None,
            source: None,
            source_principal: "",
            extensions: Vec::new(),
            gateway: "127.0.0.1".parse().unwrap(),
        };
        let has_member = |object: &str, member: &str| case.member == Some((object, member));
        Params::new(&config).check(&caller, &http, case.api, &case.view, None, has_member)
    }

    #[test]
    fn required_parameters_are_looked_for_one_object_deep() {
        let job = Some(("metadata", "job"));
        for (required, keys, member, expected) in [
            ("user", &["model"][..], None, false),
            ("user", &["model", "user"], None, true),
            ("metadata.job", &["metadata"], job, true),
            ("metadata.job", &["metadata"], Some(("metadata", "other")), false),
            ("metadata.job", &["metadata"], None, false),
            ("metadata.job", &["model"], job, false),
            ("a.b", &["a.b"], None, true),
        ] {
            let by_config = Case { member, ..case(keys) };
            let result = check(&by_config, |general| general.enforced_params = vec![required.to_owned()]);
            assert_eq!(result.is_ok(), expected, "{required} with {member:?} by configuration");
            let by_key = Case { member, key_params: &[required], ..case(keys) };
            let result = check(&by_key, |_| ());
            assert_eq!(result.is_ok(), expected, "{required} with {member:?} by key");
            if let Err(denial) = result {
                assert_eq!((denial.status, denial.param.as_deref()), (400, Some(required)));
            }
        }
    }

    #[test]
    fn parameters_are_required_of_posts_to_models_only() {
        let require = |general: &mut crate::config::General| general.enforced_params = vec!["user".to_owned()];
        assert!(check(&case(&[]), require).is_err());
        assert!(check(&Case { method: "GET", ..case(&[]) }, require).is_ok());
        assert!(check(&Case { api: Api::NotModel, ..case(&[]) }, require).is_ok());
    }

    #[test]
    fn an_end_user_can_be_required() {
        let require = |general: &mut crate::config::General| general.enforce_user_param = true;
        let denial = check(&case(&["model"]), require).unwrap_err();
        assert_eq!((denial.status, denial.param.as_deref()), (400, Some("user")));
        let mut named = case(&["model", "user"]);
        named.view.end_user = Some(Cow::Borrowed("u-1"));
        assert!(check(&named, require).is_ok());
    }

    #[test]
    fn tags_of_the_client_can_be_refused_wherever_they_stand() {
        let refuse = |general: &mut crate::config::General| general.reject_clientside_metadata_tags = true;
        let mut in_body = case(&["metadata"]);
        in_body.view.tags = vec![Cow::Borrowed("x")];
        let in_header = Case { headers: &[("x-litellm-tags", "x")], ..case(&[]) };
        for tagged in [in_body, in_header, case(&["tags"])] {
            assert_eq!(check(&tagged, refuse).unwrap_err().reason, "params.tags");
            assert!(check(&tagged, |_| ()).is_ok());
        }
        assert!(check(&case(&["metadata"]), refuse).is_ok());
    }

    /// LiteLLM answers 401 here; the credential is good and the request is not, so it is 400.
    #[test]
    fn destinations_and_credentials_from_the_client_are_refused_unless_allowed() {
        let mut banned = case(&["api_base"]);
        banned.view.banned = Some(Cow::Borrowed("api_base"));
        let denial = check(&banned, |_| ()).unwrap_err();
        assert_eq!((denial.status, denial.param.as_deref()), (400, Some("api_base")));
        assert!(check(&banned, |general| general.allow_client_side_credentials = true).is_ok());
    }
}
