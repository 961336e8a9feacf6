//! The token of the control port: where it comes from, and how it is compared.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Names the token where no file does.
pub(crate) const VARIABLE: &str = "EDGE_CONTROL_TOKEN";

/// 32 random bytes.
const HEX_DIGITS: usize = 64;
const BASE64_DIGITS: usize = 43;
/// A longer file holds something else.
const MAX_LENGTH: usize = 1024;

/// What whoever asks must know: 32 random bytes or more, in hexadecimal or base64.
#[derive(Clone)]
pub(crate) struct Token(String);

/// What the control port keeps of it.
#[derive(Clone)]
pub(crate) struct Expected([u8; 32]);

impl Token {
    /// From the file, or else from the environment; `None` if neither names one.
    ///
    /// # Errors
    ///
    /// Where it was looked for, and what is wrong with it.
    pub(crate) fn find(file: Option<&Path>) -> Result<Option<Self>, String> {
        if let Some(path) = file {
            let text = read(path).map_err(|reason| format!("{}: {reason}", path.display()))?;
            return Self::parse(&text).map(Some).map_err(|reason| format!("{}: {reason}", path.display()));
        }
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let token = text.to_str().ok_or_else(|| NONE.to_owned()).and_then(Self::parse);
        token.map(Some).map_err(|reason| format!("{VARIABLE}: {reason}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.trim_end_matches('=');
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
        if text.is_empty() {
            return Err("is empty".into());
        }
        if text.len() > MAX_LENGTH || !digits.bytes().all(base64) {
            return Err(NONE.into());
        }
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (least, what) =
            if hex { (HEX_DIGITS, "hexadecimal digits") } else { (BASE64_DIGITS, "characters of base64") };
        if digits.len() < least {
            return Err(format!("is too short: {} {what}, and 32 random bytes are {least}", digits.len()));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn expected(&self) -> Expected {
        Expected(hash(self.0.as_bytes()))
    }
}

const NONE: &str = "holds no token: one is 64 hexadecimal digits or 43 characters of base64, or more";

impl Expected {
    /// In a time that says nothing about how much of it is right: of hashes, whoever asks controls no byte.
    pub(crate) fn is(&self, offered: &[u8]) -> bool {
        hash(offered).ct_eq(&self.0).into()
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    if is_readable_by_all(&file) {
        tracing::warn!("{}: everyone on this machine can read the token", path.display());
    }
    let mut text = String::new();
    let read = file.take(MAX_LENGTH as u64 + 2).read_to_string(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text)
}

#[cfg(unix)]
fn is_readable_by_all(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_all(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_32_random_bytes_or_more() {
        let hex = "0123456789abcdef".repeat(4);
        let base64 = "+/-_ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS".to_owned();
        for text in
            [hex.clone(), hex.to_uppercase(), format!(" {hex}\n"), base64.clone(), format!("{base64}=")]
        {
            assert_eq!(Token::parse(&text).unwrap().as_str(), text.trim(), "{text}");
        }
        // Hexadecimal says half as much in a character.
        for text in
            ["", " \n", "secret", &hex[..63], &hex[..48], &base64[..42], "a b", "\u{e9}", &"x".repeat(2000)]
        {
            assert!(Token::parse(text).is_err(), "{text}");
        }
        let padded = format!("{}{}", &base64[..40], "=".repeat(20));
        assert!(Token::parse(&padded).is_err_and(|reason| reason.contains("40 characters of base64")));
    }

    #[test]
    fn only_the_token_is_the_token() {
        let hex = "0123456789abcdef".repeat(4);
        let expected = Token::parse(&hex).unwrap().expected();
        assert!(expected.is(hex.as_bytes()));
        for other in [&hex[..63], "", &format!("{hex}0"), &hex.to_uppercase()] {
            assert!(!expected.is(other.as_bytes()), "{other}");
        }
    }
}
