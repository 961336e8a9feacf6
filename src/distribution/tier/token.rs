//! What children show their parents: [`Token`].

use std::fmt;

use http::{HeaderMap, HeaderValue};

use super::TOKEN;
use crate::error::ConfigError;

/// A secret that the edges of a distribution share. Who shows it is taken for a child.
///
/// What a child can do is to have its parent ask the origin rather than its store. So the secret keeps viewers from that. It
/// goes over the wire with each request: where others could read it there, put TLS between child and parent.
#[derive(Clone)]
pub struct Token(HeaderValue);

const SHORTEST: usize = 16;

impl Token {
    /// A secret of 16 visible characters or more.
    ///
    /// # Errors
    /// If it is shorter, or has others in it.
    pub fn new(secret: &str) -> Result<Self, ConfigError> {
        if secret.len() < SHORTEST || !secret.bytes().all(|c| c.is_ascii_graphic()) {
            let reason = format!("is not {SHORTEST} visible characters or more");
            return Err(ConfigError::new("token", reason));
        }
        let mut value = HeaderValue::from_str(secret).expect("visible characters make a field value");
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// Whether a request shows it, and so comes from an edge. For a server that takes away what its viewers say of themselves,
    /// before [`Parent`](super::Parent) heeds what children say.
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        headers.get(TOKEN).is_some_and(|shown| self.is(shown))
    }

    /// Takes the same time wherever the two differ.
    fn is(&self, shown: &HeaderValue) -> bool {
        let (own, shown) = (self.0.as_bytes(), shown.as_bytes());
        own.len() == shown.len() && own.iter().zip(shown).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_is_it() {
        let token = Token::new("0123456789abcdef").unwrap();
        for (shown, is) in
            [("0123456789abcdef", true), ("0123456789abcdeF", false), ("0123456789abcde", false), ("", false)]
        {
            assert_eq!(token.is(&HeaderValue::from_static(shown)), is, "{shown}");
        }
        for secret in ["", "short", "0123456789 abcdef", "0123456789abcdé"] {
            assert_eq!(Token::new(secret).unwrap_err().setting(), "token");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
