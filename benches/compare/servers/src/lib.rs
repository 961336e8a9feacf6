//! What `servers` measures and `page` shows.

pub mod results;
