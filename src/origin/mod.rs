//! Ready-made origins, each behind a cargo feature.

#[cfg(feature = "object-store")]
pub mod object_store;

#[cfg(feature = "object-store")]
pub use self::object_store::ObjectStore;
