use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Addresses and networks, IPv4 ones also where they are written as IPv6.
#[derive(Clone, Debug, Default)]
pub struct AddressList(Vec<IpNet>);

impl AddressList {
    /// Reads addresses (`10.1.2.3`) and networks (`10.0.0.0/8`). Errors name the entry that is neither.
    pub fn parse(entries: &[String]) -> Result<Self, NotAnAddress> {
        entries.iter().map(|entry| read_entry(entry)).collect::<Result<_, _>>().map(AddressList)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of these networks holds an address; for lists that are not kept ready.
    #[must_use]
    pub fn any_holds(nets: &[IpNet], address: IpAddr) -> bool {
        let address = address.to_canonical();
        nets.iter().any(|net| canonical_net(*net).contains(&address))
    }

    /// Whether the list holds an address, however that is written.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }
}

impl FromIterator<IpNet> for AddressList {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        AddressList(nets.into_iter().map(canonical_net).collect())
    }
}

/// An entry of a list is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network; write it as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32")]
pub struct NotAnAddress(String);

fn read_entry(entry: &str) -> Result<IpNet, NotAnAddress> {
    let text = entry.trim();
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(canonical_net).map_err(|_| NotAnAddress(entry.to_owned()))
}

/// A network of IPv4 addresses written as IPv6 (`::ffff:10.0.0.0/104`) as the IPv4 network it is.
fn canonical_net(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_no_address_is_named() {
        let error = AddressList::parse(&["10.0.0.0/8".to_owned(), "10.0.0.0/33".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/33"), "{error}");
    }
}
