//! Which object does a path name?

use object_store::path::Path;

/// S3 takes no longer key, nor do the others.
const MAX_KEY: usize = 1024;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// This object.
    Object(Path),
    /// What is shown of a folder.
    Index(Path),
    /// A folder, of which nothing is shown.
    Folder,
}

/// The path is none of an object that a store could have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAKey;

/// Reads the path of a request: decoded once, what follows the first `/` is the key, byte for byte.
///
/// Refused is what a store, or a folder behind it, might take for another object than whoever looked at the path did:
/// dot segments, empty ones, an encoded `/`, any `\`, control characters, what is not UTF-8, a `%` that encodes nothing.
pub(super) fn named(path: &str, prefix: &str, index: Option<&str>) -> Result<Named, NotAKey> {
    let raw = path.strip_prefix('/').ok_or(NotAKey)?;
    let mut key = prefix.to_owned();
    if !prefix.is_empty() {
        key.push('/');
    }
    key.push_str(&decoded(raw)?);
    if !raw.is_empty() && !raw.ends_with('/') {
        return Ok(Named::Object(exact(&key)?));
    }
    // The folder itself has to be one: `//` is none.
    if !raw.is_empty() {
        exact(key.trim_end_matches('/')).and_then(|folder| same(&folder, &key[..key.len() - 1]))?;
    }
    let Some(index) = index else { return Ok(Named::Folder) };
    key.push_str(index);
    Ok(Named::Index(exact(&key)?))
}

/// The key as the store's own type, which must not change it.
pub(super) fn exact(key: &str) -> Result<Path, NotAKey> {
    if key.is_empty() || key.len() > MAX_KEY || key.contains('\\') {
        return Err(NotAKey);
    }
    // `parse` refuses dot segments, empty ones and control characters, but drops a slash at either end.
    Path::parse(key).map_err(|_| NotAKey).and_then(|path| same(&path, key))
}

fn same(path: &Path, key: &str) -> Result<Path, NotAKey> {
    if path.as_ref() == key { Ok(path.clone()) } else { Err(NotAKey) }
}

/// Undoes percent-encoding, once (RFC 3986 §2.1). An encoded slash would be one more folder than the path shows.
fn decoded(raw: &str) -> Result<String, NotAKey> {
    let mut bytes = raw.bytes();
    let mut key = Vec::with_capacity(raw.len());
    let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            key.push(byte);
            continue;
        }
        let (high, low) = (hex(bytes.next()).ok_or(NotAKey)?, hex(bytes.next()).ok_or(NotAKey)?);
        match u8::try_from(high * 16 + low) {
            Ok(b'/') | Err(_) => return Err(NotAKey),
            Ok(byte) => key.push(byte),
        }
    }
    String::from_utf8(key).map_err(|_| NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str) -> Option<String> {
        match named(path, "", None) {
            Ok(Named::Object(key)) => Some(key.to_string()),
            Ok(_) => panic!("{path} names no object"),
            Err(NotAKey) => None,
        }
    }

    #[test]
    fn a_key_is_the_path_after_exactly_one_decoding() {
        for (path, key) in [
            ("/a", "a"),
            ("/a/b.txt", "a/b.txt"),
            ("/a%20b", "a b"),
            ("/a+b", "a+b"),
            ("/a%2Bb", "a+b"),
            ("/100%25", "100%"),
            ("/a%2520b", "a%20b"),
            ("/a%252Fb", "a%2Fb"),
            ("/%7Ea", "~a"),
            ("/%E2%82%AC", "€"),
            ("/€", "€"),
            ("/a..b/...", "a..b/..."),
            ("/.well-known/x", ".well-known/x"),
            ("/a%3Fb%23c", "a?b#c"),
            ("/{a}[b]^`|<>\"*", "{a}[b]^`|<>\"*"),
            ("/%20", " "),
        ] {
            assert_eq!(object(path).as_deref(), Some(key), "{path}");
        }
    }

    #[test]
    fn what_could_be_taken_for_another_key_is_refused() {
        for path in [
            "*",
            "",
            "a",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/a",
            "/%2E./a",
            "//a",
            "/a//b",
            "/a%2Fb",
            "/a%2fb",
            "/..%2fa",
            "/%2F",
            "/a\\b",
            "/a%5Cb",
            "/..%5ca",
            "/a%00",
            "/a%0D%0Ab",
            "/%7F",
            "/%FF",
            "/%C0%AF",
            "/%E2%82",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
        ] {
            assert_eq!(object(path), None, "{path}");
        }
        assert!(object(&format!("/{}", "a".repeat(1024))).is_some());
        assert!(object(&format!("/{}", "a".repeat(1025))).is_none());
    }

    #[test]
    fn a_folder_shows_its_index() {
        for (path, key) in [("/", "index.html"), ("/a/", "a/index.html"), ("/a%20b/", "a b/index.html")] {
            assert_eq!(
                named(path, "", Some("index.html")),
                Ok(Named::Index(Path::parse(key).unwrap())),
                "{path}"
            );
            assert_eq!(named(path, "", None), Ok(Named::Folder), "{path}");
        }
        for path in ["//", "/a//", "/../", "/a/../", "/a/%2e/", "/a%2F", "/%2F/"] {
            assert_eq!(named(path, "", Some("index.html")), Err(NotAKey), "{path}");
            assert_eq!(named(path, "", None), Err(NotAKey), "{path}");
        }
    }

    #[test]
    fn a_prefix_is_never_left() {
        let key = |path| named(path, "site/v1", Some("index.html"));
        assert_eq!(key("/a"), Ok(Named::Object(Path::parse("site/v1/a").unwrap())));
        assert_eq!(key("/"), Ok(Named::Index(Path::parse("site/v1/index.html").unwrap())));
        for path in ["/..", "/../v2/a", "/%2e%2e/v2/a", "/..%2Fv2", "//", "/a/../../../b"] {
            assert_eq!(key(path), Err(NotAKey), "{path}");
        }
    }
}
