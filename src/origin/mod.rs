//! Ready-made origins: services to put behind an [`Edge`](crate::Edge)'s layer.
//!
//! [`Group`] makes one origin of several that have the same content.

mod group;

pub use self::group::{
    Group, GroupBody, GroupError, GroupFuture, GroupPolicy, HealthPolicy, Member, MemberState, MemberStatus,
    ServedBy,
};
