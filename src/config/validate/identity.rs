//! Whose word on who calls is taken: proxies and certificates. What would let anyone be anyone is refused.

use ipnet::IpNet;

use super::super::{AddressList, Config, MtlsEntry};
use super::Check;
use crate::domain::{PeerPattern, PeerText, Role};

/// Headers that mean something else to the gate or to HTTP. Identity headers are removed from what goes upstream, where
/// these would be missed; a credential is no name.
const TAKEN: [&str; 18] = [
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "ocp-apim-subscription-key",
    "sec-websocket-protocol",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-forwarded-for",
    "x-goog-api-key",
    "x-litellm-api-key",
    "x-litellm-key",
];

pub(super) fn identity(config: &Config, check: &mut Check<'_>) {
    proxies(config, check);
    for (index, entry) in config.identity.mtls.iter().enumerate() {
        mtls(entry, &format!("identity.mtls[{index}]"), check);
    }
}

fn proxies(config: &Config, check: &mut Check<'_>) {
    let general = &config.general_settings;
    for (index, entry) in general.trusted_proxy_ranges.iter().enumerate() {
        let path = format!("general_settings.trusted_proxy_ranges[{index}]");
        match AddressList::parse(std::slice::from_ref(entry)) {
            Err(error) => check.wrong(path, error.to_string()),
            Ok(_) => {
                let is_any = entry.trim().parse::<IpNet>().is_ok_and(|net| net.prefix_len() == 0);
                check.require(!is_any, &path, "must not be every address: anyone could say who they are");
            }
        }
    }
    for (index, entry) in general.trusted_proxy_principals.iter().enumerate() {
        if let Err(error) = PeerPattern::parse(entry) {
            check.wrong(format!("general_settings.trusted_proxy_principals[{index}]"), error.to_string());
        }
    }
    let key_header = general.litellm_key_header_name.as_deref();
    let mappings = &general.oauth2_config_mappings;
    for (field, name) in mappings.entries() {
        let Some(name) = name else { continue };
        let path = format!("general_settings.oauth2_config_mappings.{field}");
        check.header(name, &path);
        let lower = name.to_ascii_lowercase();
        let is_taken = TAKEN.contains(&lower.as_str())
            || key_header.is_some_and(|key_header| key_header.eq_ignore_ascii_case(name))
            || ["x-tollward-", "x-envoy-"].iter().any(|prefix| lower.starts_with(prefix));
        check.require(!is_taken, &path, "must be a header of its own: this one means something else already");
    }
    if !general.enable_oauth2_proxy_auth {
        return;
    }
    check.require(
        mappings.names_anyone(),
        "general_settings.oauth2_config_mappings",
        "must say which header names the caller: user_id, user_email, team_id or team_alias",
    );
    check.require(
        !general.trusted_proxy_ranges.is_empty() || !general.trusted_proxy_principals.is_empty(),
        "general_settings.enable_oauth2_proxy_auth",
        "needs trusted_proxy_ranges or trusted_proxy_principals: whose identity headers are believed",
    );
}

fn mtls(entry: &MtlsEntry, path: &str, check: &mut Check<'_>) {
    let stars = match PeerPattern::parse(&entry.principal) {
        Ok(pattern) => pattern.stars(),
        Err(error) => return check.wrong(format!("{path}.principal"), error.to_string()),
    };
    for (key, text) in entry.texts() {
        let Some(text) = text else { continue };
        let path = format!("{path}.{key}");
        check.require(!text.is_empty(), &path, "must not be empty");
        if let Err(error) = PeerText::parse(text, stars) {
            check.wrong(path, error.to_string());
        }
    }
    let names = entry.texts().iter().any(|(_, text)| text.is_some());
    match &entry.key {
        None => {
            check.require(names, path, "must say whom it stands for: user_id, user_email, team_id, team_alias or key")
        }
        Some(_) => {
            check.require(
                !names,
                &format!("{path}.key"),
                "has a user and a team of its own; drop the others or the key",
            );
            let is_key = entry.key_hash().is_some();
            check.require(is_key, &format!("{path}.key"), "must be a key that begins with sk-, or its SHA-256 in hex");
        }
    }
    let two_teams = entry.team_id.is_some() && entry.team_alias.is_some();
    check.require(!two_teams, &format!("{path}.team_alias"), "names the team a second time; drop it or team_id");
    check.require(
        entry.role != Some(Role::ProxyAdmin),
        &format!("{path}.role"),
        "only narrows, and proxy_admin is no narrower than any; give the user its role in the directory",
    );
}
