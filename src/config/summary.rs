//! What is in force, for the first line of the log: facts that help to see which file was read, and no secrets.

use super::Config;
use crate::domain::Secret;

impl Config {
    /// One line about the configuration; shows no secret, of a URL only its scheme (and the file, for SQLite).
    #[must_use]
    pub fn summary(&self) -> String {
        let listen = &self.listen;
        let general = &self.general_settings;
        let directory = self.directory.url.as_ref().map_or_else(|| "default".to_owned(), shown);
        let tls = |tls: &Option<super::ServerTls>| match tls {
            None => "",
            Some(tls) if tls.client_ca.is_some() => " (mTLS)",
            Some(_) => " (TLS)",
        };
        format!(
            "grpc {}{}, http {}{}, ops {}; directory {directory}; counters {}; {} models; {} public routes; master key {}",
            listen.grpc,
            tls(&self.tls.grpc),
            listen.http,
            tls(&self.tls.http),
            listen.ops,
            shown(&self.counters.url()),
            self.model_list.len(),
            general.public_routes.len(),
            if general.master_key.as_ref().is_some_and(|key| !key.is_empty()) { "set" } else { "not set" },
        )
    }
}

fn shown(url: &Secret) -> String {
    let url = url.expose();
    if url.starts_with("sqlite://") {
        return url.to_owned();
    }
    url.split_once("://").map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme}://…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_no_secret() {
        let mut config = Config::default();
        config.general_settings.master_key = Some(Secret::new("sk-very-secret-key"));
        config.directory.url = Some(Secret::new("postgres://me:hunter2@db/tollward"));
        let text = config.summary();
        assert!(text.contains("127.0.0.1:9001") && text.contains("postgres://…") && text.contains("master key set"));
        assert!(!text.contains("hunter2") && !text.contains("very-secret"), "{text}");
    }
}
