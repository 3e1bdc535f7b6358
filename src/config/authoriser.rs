use http::Uri;

use crate::authn::fetch::{Endpoint, check_url};

/// Where the authoriser is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthoriserAddress {
    Grpc { host: String, port: u16, tls: bool },
    Webhook(Endpoint),
}

impl AuthoriserAddress {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("must be a URL as grpc://127.0.0.1:9191")?;
        let tls = match scheme {
            "grpc" => false,
            "grpcs" => true,
            "http" | "https" => return check_url(text).map(AuthoriserAddress::Webhook),
            _ => return Err("must begin with grpc://, grpcs://, https:// or http://".to_owned()),
        };
        let form = "must be a host and a port, as grpc://127.0.0.1:9191";
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| form)?;
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else { return Err(form.to_owned()) };
        let is_bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if host.is_empty() || !is_bare || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(form.to_owned());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(AuthoriserAddress::Grpc { host, port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authoriser_is_a_grpc_service_or_a_webhook() {
        let grpc = |host: &str, port, tls| AuthoriserAddress::Grpc { host: host.to_owned(), port, tls };
        for (text, expected) in [
            ("grpc://127.0.0.1:9191", grpc("127.0.0.1", 9191, false)),
            ("grpcs://auth.example.com:443/", grpc("auth.example.com", 443, true)),
            ("grpc://[::1]:9191", grpc("::1", 9191, false)),
            (
                "https://auth.example.com/check?x=1",
                AuthoriserAddress::Webhook(check_url("https://auth.example.com/check?x=1").unwrap()),
            ),
        ] {
            assert_eq!(AuthoriserAddress::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:9191",
            "grpc://127.0.0.1",
            "grpc://:9191",
            "grpc://user@host:1",
            "grpc://host:1/path",
            "grpc://host:1?x",
            "grpc://host:99999",
            "dns:///host:1",
            "unix:///run/x",
            "http://auth.example.com/check",
        ] {
            assert!(AuthoriserAddress::parse(text).is_err(), "{text}");
        }
    }
}
