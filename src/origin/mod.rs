//! Ready-made origins, each behind a cargo feature.
//!
//! An edge stands in front of any Tower service. These are for those that have none: [`Upstream`] asks an HTTP site.

#[cfg(feature = "upstream")]
pub mod upstream;
#[cfg(feature = "upstream")]
mod viewer;

#[cfg(feature = "upstream")]
pub use self::{upstream::Upstream, viewer::Viewer};
