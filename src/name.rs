//! Names that the operator gives and that stand in fields: of an edge in `Cache-Status`, of an origin in `Proxy-Status`.

use crate::error::ConfigError;

/// The name as an item of a structured field: a token, or a quoted string (RFC 9211 §2, RFC 9209 §2, RFC 9651 §3.3).
pub(crate) fn item(setting: &str, name: &str) -> Result<String, ConfigError> {
    let token_char = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    if name.is_empty() || !name.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        let reason = format!("{name:?} is not one or more visible ASCII characters");
        return Err(ConfigError::new(setting, reason));
    }
    let token =
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*') && name.chars().all(token_char);
    Ok(if token {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    })
}

/// The name that an item stands for.
pub(crate) fn plain(item: &str) -> String {
    let Some(quoted) = item.strip_prefix('"').and_then(|item| item.strip_suffix('"')) else {
        return item.to_owned();
    };
    let mut escaped = false;
    quoted
        .chars()
        .filter(|&c| {
            escaped = c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_token_or_a_string() {
        for (name, expected) in [
            ("fra-1", "fra-1"),
            ("1a", "\"1a\""),
            ("my edge", "\"my edge\""),
            ("a\"b", "\"a\\\"b\""),
            ("\\\\ \"", "\"\\\\\\\\ \\\"\""),
        ] {
            assert_eq!(item("name", name).unwrap(), expected);
            assert_eq!(plain(expected), name);
        }
        assert_eq!(item("name", "a\nb").unwrap_err().setting(), "name");
    }
}
