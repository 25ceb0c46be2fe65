//! Where a request comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use kijko_core::App;
use kijko_core::domain::addresses;

/// Where the peer is not known: below a router that no server serves.
pub const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The address of the client, as `addresses::client` decides.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    pub fn of(app: &App, request: &Parts) -> Self {
        let peer = request.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let headers = &request.headers;
        Self(addresses::client(
            peer.unwrap_or(UNKNOWN),
            texts(headers, "x-forwarded-for"),
            texts(headers, "x-real-ip").next_back(),
            &app.config().http.trusted_proxies,
        ))
    }
}

/// What is no text counts as an entry that cannot be read, and not as none.
fn texts<'a>(headers: &'a HeaderMap, name: &'static str) -> impl DoubleEndedIterator<Item = &'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default())
}
