//! Where requests may go whose address somebody supplied.

use url::Url;

pub trait AddressGuard: Send + Sync {
    /// Whether an address may be tried: false for what is plainly not public, or not encrypted. What a name resolves to
    /// is looked at again where the connection is made.
    fn permits(&self, url: &Url) -> bool;
}
