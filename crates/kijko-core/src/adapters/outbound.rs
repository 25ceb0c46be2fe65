//! The one guard for addresses that users supply: public ones only, checked where the connection is made, so that a
//! name which changes its mind after a check leads nowhere else.
//!
//! A client built here asks this resolver for every connection, follows no redirect, and goes through no proxy, which
//! would resolve names by itself. An address written in numbers is not resolved, so `permits` must be asked about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, redirect};
use url::{Host, Url};

use crate::ports::outbound::AddressGuard;

#[derive(Clone)]
pub(crate) struct Guard {
    /// Let through although they are not public.
    allowed: Arc<[IpNet]>,
}

impl Guard {
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// A client that connects to nowhere else, however a name resolves.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().dns_resolver(Arc::new(self.clone())).redirect(redirect::Policy::none()).no_proxy()
    }

    fn permits_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allowed.iter().any(|network| network.contains(&ip))
            || match ip {
                IpAddr::V4(ip) => is_public(ip),
                IpAddr::V6(ip) => is_public_v6(ip),
            }
    }
}

impl AddressGuard for Guard {
    /// Whether an address may be tried: encrypted unless something here is allowed on purpose, and not a private
    /// address in numbers.
    fn permits(&self, url: &Url) -> bool {
        let is_encrypted = url.scheme() == "https" || (url.scheme() == "http" && !self.allowed.is_empty());
        is_encrypted
            && match url.host() {
                Some(Host::Ipv4(ip)) => self.permits_ip(ip.into()),
                Some(Host::Ipv6(ip)) => self.permits_ip(ip.into()),
                Some(Host::Domain(_)) => true,
                None => false,
            }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<SocketAddr> = found.filter(|address| guard.permits_ip(address.ip())).collect();
            if permitted.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

fn is_public(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = matches!(
        (a, b, c),
        // This network, loopback, multicast and all above it.
        (0 | 127 | 224.., _, _)
            // Shared by carriers.
            | (100, 64..=127, _)
            // Protocols, documentation, old relays, measuring.
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !(is_special || ip.is_private() || ip.is_link_local())
}

/// What is given to the public is 2000::/3; in it are ways back to IPv4, and documentation.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let is_given_out = (0x2000..0x4000).contains(&a);
    // Teredo and other protocols, documentation twice, 6to4.
    let is_special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    is_given_out && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_permitted() {
        let guard = Guard::new(&[]);
        for (host, expected) in [
            ("93.184.215.14", true),
            ("[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", true),
            ("example.com", true),
            ("127.0.0.1", false),
            ("127.1", false),
            ("2130706433", false),
            ("0x7f.0.0.1", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("192.0.0.192", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("[::1]", false),
            ("[::]", false),
            ("[::ffff:169.254.169.254]", false),
            ("[::ffff:93.184.215.14]", true),
            ("[::7f00:1]", false),
            ("[64:ff9b::a00:1]", false),
            ("[2002:7f00:1::]", false),
            ("[2001:0:4136::]", false),
            ("[fd00::1]", false),
            ("[fe80::1]", false),
            ("[ff02::1]", false),
            ("[2001:db8::1]", false),
            ("[fd00:ec2::254]", false),
        ] {
            let url = Url::parse(&format!("https://{host}/v1")).expect("a URL");
            assert_eq!(guard.permits(&url), expected, "{host}");
        }
        assert!(!guard.permits(&Url::parse("http://example.com").expect("a URL")), "a key must not go in clear");
        assert!(!guard.permits(&Url::parse("file:///etc/passwd").expect("a URL")));
    }

    #[test]
    fn what_is_allowed_on_purpose_is_permitted_and_nothing_beside_it() {
        let guard = Guard::new(&["127.0.0.1/32".parse().expect("a network")]);
        let permits = |text: &str| guard.permits(&Url::parse(text).expect("a URL"));
        assert!(permits("http://127.0.0.1:11434/v1") && permits("http://[::ffff:127.0.0.1]/v1"));
        assert!(!permits("http://127.0.0.2/v1") && !permits("http://10.0.0.1/v1"));
    }

    #[tokio::test]
    async fn a_name_leads_to_no_private_address() {
        let guard = Guard::new(&[]);
        let refused = guard.resolve("localhost".parse().expect("a name")).await;
        assert!(refused.is_err(), "localhost is private, whatever it is called");
        let guard = Guard::new(&["127.0.0.0/8".parse().expect("a network")]);
        let found: Vec<_> = guard.resolve("localhost".parse().expect("a name")).await.expect("allowed").collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip() == Ipv4Addr::LOCALHOST), "{found:?}");
    }
}
