//! An object store as the origin: S3 and what speaks like it, Google's and Azure's stores, a folder, memory.
//!
//! [`ObjectStore`] answers GET and HEAD, and PUT and DELETE where they are switched on, with the objects of anything that
//! implements `object_store::ObjectStore`.
//!
//! | question | file |
//! |---|---|
//! | which object does a path name? | `key` |
//! | which attributes are which fields? | `fields` |
//! | do the request's conditions hold? | `conditions` |
//! | what does a read get? | `read`, `body` |
//! | what does a write do? | `write` |
//! | how does a body get into the store? | `upload`, and `intact` for what was promised of it |
//! | what does a request get that failed? | `refusal` |

mod body;
mod builder;
mod conditions;
mod fields;
mod intact;
mod key;
mod read;
mod refusal;
mod service;
mod upload;
mod write;

pub use body::ObjectBody;
pub use builder::{ObjectStoreBuilder, Upload};
pub use service::ObjectStore;
