//! Several edges that are cleared as one.

mod coordinates;
mod nearest;
pub mod viewer;

pub use self::coordinates::Coordinates;
pub use self::nearest::Nearest;
