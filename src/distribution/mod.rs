//! Several edges that are cleared as one.
//!
//! [`bus`] is how an invalidation reaches edges, in this process and in others.

pub mod bus;
