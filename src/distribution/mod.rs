//! Several edges that are cleared as one, of which each viewer is answered by the nearest.
//!
//! [`bus`] is how an invalidation reaches edges, in this process and in others.

mod body;
mod builder;
pub mod bus;
mod coordinates;
mod edges;
mod location;
mod nearest;
mod route;
mod tier;
pub mod viewer;

pub use self::body::AnyBody;
pub use self::builder::DistributionBuilder;
pub use self::coordinates::Coordinates;
pub use self::edges::Distribution;
pub use self::location::{DistributionStats, EdgeCondition, EdgeStatus, Location};
pub use self::nearest::Nearest;
pub use self::route::{DistributionLayer, Routed};
pub use self::tier::{Announce, Parent, Parents, ParentsService, TierPolicy, Token};
