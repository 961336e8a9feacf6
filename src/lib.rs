//! An embeddable edge cache.
mod clock;
mod error;
mod key;
mod outcome;
mod policy;
pub mod semantics;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{BodyError, BodyErrorKind, ConfigError};
pub use key::KeyPolicy;
pub use outcome::{Detail, Disposition, ForwardReason, Outcome};
pub use policy::{
    Authorization, Behavior, CachePolicy, Heuristic, Limits, RequestDirectives, SetCookie, Stale, Ttl,
};
