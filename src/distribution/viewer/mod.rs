//! Where a viewer is: [`Locate`], and sources that say it.

mod fields;
#[cfg(feature = "maxmind")]
mod maxmind;
mod prefix;
mod table;
#[cfg(all(test, feature = "maxmind"))]
mod tiny;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Extensions, HeaderMap};

pub use self::fields::TrustedFields;
#[cfg(feature = "maxmind")]
pub use self::maxmind::{DatabaseError, MaxMind};
pub use self::prefix::{Prefix, PrefixError};
pub use self::table::{AddressTable, TableError};
use super::coordinates::Coordinates;
use crate::origin::Viewer;

/// Says where viewers are. Asked for every request, so it does not wait for anything.
///
/// ```
/// use std::net::IpAddr;
/// use http::HeaderMap;
/// use tower_edge::distribution::Coordinates;
/// use tower_edge::distribution::viewer::Locate;
///
/// /// Everybody is in Bern.
/// #[derive(Debug)]
/// struct Bern;
///
/// impl Locate for Bern {
///     fn locate(&self, _: Option<IpAddr>, _: &HeaderMap) -> Option<Coordinates> {
///         Coordinates::new(46.95, 7.45).ok()
///     }
/// }
/// assert!(Bern.locate(None, &HeaderMap::new()).is_some());
/// ```
pub trait Locate: fmt::Debug + Send + Sync + 'static {
    /// Where the sender of a request is, by the address of his end of the connection and the request's fields. `None` if
    /// this source cannot say.
    fn locate(&self, address: Option<IpAddr>, fields: &HeaderMap) -> Option<Coordinates>;
}

/// The first of several sources that can say.
impl Locate for Vec<Arc<dyn Locate>> {
    fn locate(&self, address: Option<IpAddr>, fields: &HeaderMap) -> Option<Coordinates> {
        self.iter().find_map(|source| source.locate(address, fields))
    }
}

/// The address that a server put into a request's extensions: as a [`Viewer`], a `SocketAddr` or an `IpAddr`.
pub(super) fn address(extensions: &Extensions) -> Option<IpAddr> {
    let viewer = || extensions.get::<Viewer>().map(|viewer| viewer.address().ip());
    let socket = || extensions.get::<SocketAddr>().map(SocketAddr::ip);
    viewer().or_else(socket).or_else(|| extensions.get::<IpAddr>().copied())
}
