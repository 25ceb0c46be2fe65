//! Where a request comes from, when proxies stand in between.

use std::net::IpAddr;

use ipnet::IpNet;

/// The address of the client: that of the connection, unless a trusted proxy holds it. Then the right-most entry of
/// `X-Forwarded-For` that is no trusted proxy, since everything left of it is what somebody claims; without one,
/// `X-Real-IP`; without that, the farthest trusted hop.
///
/// `forwarded_for` are the values of that header in order, each a comma list.
pub fn client<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    real_ip: Option<&str>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    // A socket that serves both families shows IPv4 peers as IPv6.
    let mut farthest = peer.to_canonical();
    if !is_trusted(farthest) {
        return farthest;
    }
    for entry in forwarded_for.rev().flat_map(|value| value.rsplit(',')) {
        match parse(entry) {
            Some(address) if is_trusted(address) => farthest = address,
            Some(address) => return address,
            // Not written by a proxy of ours, so what stands left of it was not checked by one either.
            None => break,
        }
    }
    real_ip.and_then(parse).unwrap_or(farthest)
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    entry.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded_for: &[&str], real_ip: Option<&str>, expected: &str) {
        let trusted: Vec<IpNet> =
            ["127.0.0.1/32", "::1/128", "10.0.0.0/8", "fd00::/8"].map(|n| n.parse().expect("a network")).into();
        let found = client(peer.parse().expect("an address"), forwarded_for.iter().copied(), real_ip, &trusted);
        let expected: IpAddr = expected.parse().expect("an address");
        assert_eq!(found, expected, "{peer} forwards {forwarded_for:?}, real {real_ip:?}");
    }

    #[test]
    fn nobody_but_a_trusted_proxy_speaks_for_others() {
        check("203.0.113.1", &[], None, "203.0.113.1");
        check("203.0.113.1", &["198.51.100.7"], Some("198.51.100.8"), "203.0.113.1");
        check("::ffff:203.0.113.1", &["198.51.100.7"], None, "203.0.113.1");
    }

    #[test]
    fn the_right_most_untrusted_entry_is_the_client() {
        check("127.0.0.1", &["198.51.100.7"], None, "198.51.100.7");
        check("::ffff:127.0.0.1", &["198.51.100.7"], None, "198.51.100.7");
        check("127.0.0.1", &["1.2.3.4, 198.51.100.7"], None, "198.51.100.7");
        check("127.0.0.1", &["1.2.3.4, 198.51.100.7, 10.1.1.1,10.2.2.2"], None, "198.51.100.7");
        check("127.0.0.1", &["1.2.3.4", "198.51.100.7", "10.1.1.1"], None, "198.51.100.7");
        check("10.0.0.1", &["2001:db8::7, fd00::1"], None, "2001:db8::7");
        check("127.0.0.1", &["198.51.100.7:4711"], None, "198.51.100.7");
        check("127.0.0.1", &["[2001:db8::7]:4711"], None, "2001:db8::7");
        check("127.0.0.1", &["[2001:db8::7]"], None, "2001:db8::7");
        check("127.0.0.1", &["::ffff:198.51.100.7"], None, "198.51.100.7");
        check("127.0.0.1", &["198.51.100.7"], Some("198.51.100.8"), "198.51.100.7");
    }

    #[test]
    fn without_one_the_real_address_or_the_farthest_hop_stands() {
        check("127.0.0.1", &[], None, "127.0.0.1");
        check("127.0.0.1", &[], Some("198.51.100.8"), "198.51.100.8");
        check("127.0.0.1", &["10.1.1.1, 10.2.2.2"], None, "10.1.1.1");
        check("127.0.0.1", &["10.1.1.1"], Some(" 198.51.100.8 "), "198.51.100.8");
        check("127.0.0.1", &[], Some("10.3.3.3"), "10.3.3.3");
    }

    #[test]
    fn garbage_ends_the_chain_and_breaks_nothing() {
        check("127.0.0.1", &[""], None, "127.0.0.1");
        check("127.0.0.1", &["198.51.100.7, unknown"], None, "127.0.0.1");
        check("127.0.0.1", &["198.51.100.7, garbage, 10.1.1.1"], None, "10.1.1.1");
        check("127.0.0.1", &[",,,,"], Some("not an address"), "127.0.0.1");
        check("127.0.0.1", &["999.1.1.1"], None, "127.0.0.1");
        check("127.0.0.1", &["198.51.100.7; DROP TABLE users"], None, "127.0.0.1");
        check("127.0.0.1", &["garbage", "198.51.100.7"], None, "198.51.100.7");
    }
}
