//! Where does the request come from, and may it come from there? `x-forwarded-for` is believed only as far as the
//! configuration says; whatever is malformed in what must be believed makes all of it worthless. A list of addresses
//! refuses a caller whose address is not known.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, NotAnAddress, Request};
use crate::domain::{Denial, ErrorType, Key};
use crate::request::HttpRequest;

pub use crate::config::AddressList;

/// The network rules of the configuration, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Network {
    hops: usize,
    proxies: AddressList,
    allowed: AddressList,
}

impl Network {
    /// Errors name the entry of `general_settings.allowed_ips` that cannot be read.
    pub fn new(config: &Config) -> Result<Self, NotAnAddress> {
        Ok(Network {
            hops: hops(&config.request, config.general_settings.use_x_forwarded_for),
            proxies: config.request.trusted_proxy_ranges.iter().copied().collect(),
            allowed: AddressList::parse(&config.general_settings.allowed_ips)?,
        })
    }

    /// The client's address: the connection's own, or the `trusted_hops`-th entry of `x-forwarded-for` from the right
    /// where the connection comes from a trusted proxy and those entries are addresses.
    #[must_use]
    pub fn client(&self, http: &HttpRequest<'_>) -> Option<IpAddr> {
        let peer = http.source.map(|address| address.to_canonical());
        if self.hops == 0 || !self.trusts(peer) {
            return peer;
        }
        forwarded_for(http, self.hops).or(peer)
    }

    fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.proxies.is_empty() || peer.is_some_and(|peer| self.proxies.contains(peer))
    }

    /// Refuses a client outside `general_settings.allowed_ips`. For everyone, before the credential.
    pub fn admit(&self, client: Option<IpAddr>) -> Result<(), Denial> {
        if self.allowed.is_empty() || client.is_some_and(|address| self.allowed.contains(address)) {
            return Ok(());
        }
        Err(refusal(client, "network.global", "requests"))
    }
}

/// Refuses a client outside the key's `allowed_ips`.
pub fn key_network(key: &Key, client: Option<IpAddr>) -> Result<(), Denial> {
    let holds = |address: IpAddr| AddressList::any_holds(&key.allowed_ips, address);
    if key.allowed_ips.is_empty() || client.is_some_and(holds) {
        return Ok(());
    }
    Err(refusal(client, "network.key", "requests with this key"))
}

/// 403, with the type that stands for credentials elsewhere, as LiteLLM answers it.
fn refusal(client: Option<IpAddr>, reason: &'static str, what: &str) -> Denial {
    let message = match client {
        Some(address) => format!("{what} may not come from the address {address}"),
        None => format!("{what} must come from a known address, and this one has none"),
    };
    Denial { status: 403, ..Denial::new(ErrorType::AuthError, reason, message) }
}

/// `use_x_forwarded_for` is LiteLLM's name for one hop.
fn hops(request: &Request, use_x_forwarded_for: bool) -> usize {
    if use_x_forwarded_for { request.trusted_hops.max(1) } else { request.trusted_hops }
}

/// The n-th entry from the right. `None` where there are fewer or one of the n is no address: then a proxy did not do
/// what is expected of it, or a client wrote the field. Entries left of them are the client's own words and not read.
fn forwarded_for(http: &HttpRequest<'_>, hops: usize) -> Option<IpAddr> {
    let fields = http.headers.0.iter().rev().filter(|(name, _)| *name == "x-forwarded-for");
    let mut entries = fields.flat_map(|(_, value)| value.rsplit(|byte| *byte == b','));
    let mut address = None;
    for _ in 0..hops {
        address = Some(read_address(entries.next()?)?);
    }
    address
}

/// An address, with or without a port as some proxies write it.
fn read_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{KeyHash, Timestamp};
    use crate::request::Headers;

    fn request<'a>(source: Option<&str>, forwarded: &[&'a [u8]]) -> HttpRequest<'a> {
        HttpRequest {
            method: "POST",
            path: "/",
            headers: Headers(forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect()),
            body: None,
            source: source.map(|address| address.parse().unwrap()),
            source_principal: "",
            extensions: Vec::new(),
            gateway: "127.0.0.1".parse().unwrap(),
        }
    }

    fn network(change: impl FnOnce(&mut Config)) -> Network {
        let mut config = Config::default();
        change(&mut config);
        Network::new(&config).unwrap()
    }

    #[test]
    fn the_client_is_the_trusted_hop_or_the_connection() {
        for (hops, source, forwarded, expected) in [
            (0, "10.0.0.1", vec!["1.1.1.1"], "10.0.0.1"),
            (1, "10.0.0.1", vec!["1.1.1.1"], "1.1.1.1"),
            (1, "10.0.0.1", vec!["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            (2, "10.0.0.1", vec!["6.6.6.6, 1.1.1.1, 2.2.2.2"], "1.1.1.1"),
            (2, "10.0.0.1", vec!["1.1.1.1", "2.2.2.2"], "1.1.1.1"),
            (2, "10.0.0.1", vec!["1.1.1.1"], "10.0.0.1"),
            (1, "10.0.0.1", vec![], "10.0.0.1"),
            (1, "10.0.0.1", vec!["1.1.1.1, nonsense"], "10.0.0.1"),
            (2, "10.0.0.1", vec!["1.1.1.1, nonsense"], "10.0.0.1"),
            (1, "10.0.0.1", vec!["nonsense, 1.1.1.1"], "1.1.1.1"),
            (1, "10.0.0.1", vec![""], "10.0.0.1"),
            (1, "10.0.0.1", vec!["1.1.1.1:4711"], "1.1.1.1"),
            (1, "10.0.0.1", vec!["[2001:db8::1]:4711"], "2001:db8::1"),
            (1, "10.0.0.1", vec!["[2001:db8::1]"], "2001:db8::1"),
            (1, "10.0.0.1", vec!["::ffff:1.1.1.1"], "1.1.1.1"),
            (0, "::ffff:10.0.0.1", vec![], "10.0.0.1"),
        ] {
            let network = network(|config| config.request.trusted_hops = hops);
            let values: Vec<&[u8]> = forwarded.iter().map(|value| value.as_bytes()).collect();
            let client = network.client(&request(Some(source), &values));
            assert_eq!(client, Some(expected.parse().unwrap()), "{hops} hops, {forwarded:?}");
        }
    }

    #[test]
    fn forwarded_addresses_are_believed_only_from_trusted_proxies() {
        let network = network(|config| {
            config.general_settings.use_x_forwarded_for = true;
            config.request.trusted_proxy_ranges = vec!["10.0.0.0/8".parse().unwrap()];
        });
        let client = |source| network.client(&request(source, &[b"1.1.1.1"]));
        assert_eq!(client(Some("10.0.0.1")), "1.1.1.1".parse().ok());
        assert_eq!(client(Some("::ffff:10.0.0.1")), "1.1.1.1".parse().ok());
        assert_eq!(client(Some("11.0.0.1")), "11.0.0.1".parse().ok());
        assert_eq!(client(None), None);
    }

    #[test]
    fn a_list_holds_addresses_and_networks_and_refuses_the_unknown() {
        let lists = ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::ffff:172.16.0.0/108"].map(str::to_owned);
        let network = network(|config| config.general_settings.allowed_ips = lists.to_vec());
        for (address, expected) in [
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("10.255.0.1", true),
            ("2001:db8::5", true),
            ("2001:db9::5", false),
            ("172.16.3.4", true),
            ("172.32.0.1", false),
        ] {
            assert_eq!(network.admit(address.parse().ok()).is_ok(), expected, "{address}");
        }
        let denial = network.admit(None).unwrap_err();
        assert_eq!((denial.status, denial.kind), (403, ErrorType::AuthError));
        assert!(Network::default().admit(None).is_ok(), "no list, no rule");
    }

    #[test]
    fn a_key_with_networks_works_only_from_there() {
        let mut key = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
        assert!(key_network(&key, None).is_ok());
        key.allowed_ips = vec!["::ffff:10.0.0.0/104".parse().unwrap()];
        assert!(key_network(&key, "10.1.2.3".parse().ok()).is_ok());
        assert_eq!(key_network(&key, "11.1.2.3".parse().ok()).unwrap_err().status, 403);
        assert_eq!(key_network(&key, None).unwrap_err().status, 403);
    }

    proptest! {
        #[test]
        fn no_forwarded_field_panics_or_reaches_past_its_hop(noise in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut value = noise;
            value.extend_from_slice(b", 9.9.9.9");
            let network = network(|config| config.request.trusted_hops = 1);
            let http = request(Some("10.0.0.1"), &[&value]);
            prop_assert_eq!(network.client(&http), "9.9.9.9".parse().ok());
        }
    }
}
