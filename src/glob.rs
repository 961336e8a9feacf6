//! Path patterns of behaviors: `*` for any run of characters, `?` for exactly one.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Box<[u8]>);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.as_bytes().into())
    }

    /// Linear in practice and never worse than the product of the lengths: only the last `*` is tried again.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let (pattern, path) = (&*self.0, path.as_bytes());
        let (mut p, mut s) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while s < path.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, s));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == path[s] => {
                    p += 1;
                    s += 1;
                }
                _ => match &mut star {
                    Some((at, from)) => {
                        *from += 1;
                        (p, s) = (*at + 1, *from);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, matches) in [
            ("*", "/", true),
            ("*", "", true),
            ("/images/*", "/images/", true),
            ("/images/*", "/images/a/b.png", true),
            ("/images/*", "/images", false),
            ("*.png", "/a/b.png", true),
            ("*.png", "/a/b.png.gz", false),
            ("*.png", "/a.png/b.png", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("/a?c", "/a/c", true),
            ("/a*b*c", "/axxbyybzzc", true),
            ("/a*b*c", "/axxbyybzz", false),
            ("/A", "/a", false),
            ("", "/", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(path), matches, "{pattern} {path}");
        }
    }
}
