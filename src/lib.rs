//! An embeddable edge cache: a Tower [`Layer`](tower::Layer) that turns any origin service into a CDN edge location.
mod answer;
mod body;
mod clock;
mod edge;
mod error;
mod fill;
mod future;
mod glob;
mod invalidation;
mod key;
mod layer;
mod lookup;
mod observe;
mod outcome;
mod policy;
mod request;
pub mod semantics;
mod service;
mod store;
mod sync;

pub use body::Body;
pub use clock::{Clock, ManualClock, SystemClock};
pub use edge::{Edge, EdgeBuilder};
pub use error::{BodyError, BodyErrorKind, ConfigError};
pub use future::ResponseFuture;
pub use invalidation::{Invalidation, Invalidator, PathError};
pub use key::{CustomKey, KeyPolicy, Select};
pub use layer::CacheLayer;
pub use observe::Stats;
pub use outcome::{Detail, Disposition, ForwardReason, Outcome};
pub use policy::{
    Authorization, Behavior, CachePolicy, Heuristic, Limits, Normalise, RequestDirectives, SetCookie, Stale,
    Targeted, Ttl,
};
pub use service::Cache;
