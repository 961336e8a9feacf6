//! Ready-made origins: services to put behind an [`Edge`](crate::Edge)'s layer.
//!
//! An edge stands in front of any Tower service. These are for those that have none: `Upstream` (feature `upstream`) asks an
//! HTTP site, `ObjectStore` (feature `object-store`) a bucket, a folder or memory. [`Group`] makes one origin of several that
//! have the same content.

mod group;
#[cfg(feature = "object-store")]
pub mod object_store;
#[cfg(feature = "upstream")]
pub mod upstream;
mod viewer;

pub(crate) use self::group::{BoxBody, Common, Order};
pub use self::group::{
    Group, GroupBody, GroupError, GroupFuture, GroupPolicy, HealthPolicy, Member, MemberState, MemberStatus,
    ServedBy,
};
#[cfg(feature = "object-store")]
pub use self::object_store::ObjectStore;
#[cfg(feature = "upstream")]
pub use self::upstream::Upstream;
pub use self::viewer::Viewer;
