//! stub
/// How a key is made.
#[derive(Clone, Debug, Default)]
pub struct KeyPolicy {}
