//! `Cache-Control`, as it stands in a request or a response (RFC 9111 §5.2).
//!
//! What cannot be read is taken the way that stores less and serves for a shorter time: a cache that guesses
//! wrong here shows one viewer's answer to another. So a flag that restricts counts whatever its argument, one
//! that permits counts only if it is spelt as it should be, and of two arguments the smaller one holds.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};
use http::{HeaderMap, StatusCode};

use super::members::{Argument, Directive, directives};
use super::status::understood;

/// Which fields a directive is about: `no-cache` and `private` may name some (RFC 9111 §5.2.2.4, §5.2.2.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields {
    /// The whole response.
    All,
    /// Only these fields.
    Named(Vec<HeaderName>),
}

/// The directives of a response (RFC 9111 §5.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ResponseCacheControl {
    pub no_store: bool,
    pub no_cache: Option<Fields>,
    pub private: Option<Fields>,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub immutable: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Read from a [targeted field](super::targeted): neither `Cache-Control` nor `Expires` counts beside it.
    pub targeted: bool,
}

/// The directives of a request (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RequestCacheControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub no_transform: bool,
    pub max_age: Option<Duration>,
    /// `Some(Duration::MAX)` where the directive has no argument: any staleness will do.
    pub max_stale: Option<Duration>,
    pub min_fresh: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl ResponseCacheControl {
    /// Reads every `Cache-Control` line of a response.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for Directive { name, argument } in directives(headers, CACHE_CONTROL) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("max-age") {
                // RFC 9111 §4.2.1: a lifetime that cannot be read is best taken as none left, not as absent.
                at_most(&mut control.max_age, argument.seconds().or(Some(Duration::ZERO)));
            } else if is("s-maxage") {
                at_most(&mut control.s_maxage, argument.seconds().or(Some(Duration::ZERO)));
            } else if is("no-store") {
                control.no_store = true;
            } else if is("private") {
                add_fields(&mut control.private, argument.fields());
            } else if is("no-cache") {
                add_fields(&mut control.no_cache, argument.fields());
            } else if is("must-revalidate") {
                control.must_revalidate = true;
            } else if is("proxy-revalidate") {
                control.proxy_revalidate = true;
            } else if is("no-transform") {
                control.no_transform = true;
            } else if is("public") {
                control.public |= argument == Argument::None;
            } else if is("must-understand") {
                control.must_understand |= argument == Argument::None;
            } else if is("immutable") {
                // RFC 8246 §2: an argument has no meaning.
                control.immutable = true;
            } else if is("stale-while-revalidate") {
                at_most(&mut control.stale_while_revalidate, argument.seconds());
            } else if is("stale-if-error") {
                at_most(&mut control.stale_if_error, argument.seconds());
            }
        }
        control
    }

    /// The fields that `private` and `no-cache` name.
    pub(crate) fn named(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.private, &self.no_cache].into_iter().flat_map(|fields| match fields {
            Some(Fields::Named(names)) => names.as_slice(),
            _ => &[],
        })
    }

    /// Whether `no-store` holds for an answer of this status: beside `must-understand` it is only for caches that do
    /// not understand the status (RFC 9111 §5.2.2.3).
    pub fn no_store_holds(&self, status: StatusCode) -> bool {
        self.no_store && !(self.must_understand && understood(status))
    }
}

impl RequestCacheControl {
    /// Reads every `Cache-Control` line of a request, or `Pragma: no-cache` where there is none (RFC 9111 §5.4).
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            control.no_cache =
                directives(headers, PRAGMA).any(|directive| directive.name.eq_ignore_ascii_case(b"no-cache"));
            return control;
        }
        for Directive { name, argument } in directives(headers, CACHE_CONTROL) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("no-cache") {
                control.no_cache = true;
            } else if is("no-store") {
                control.no_store = true;
            } else if is("only-if-cached") {
                control.only_if_cached = true;
            } else if is("no-transform") {
                control.no_transform = true;
            } else if is("max-age") {
                at_most(&mut control.max_age, argument.seconds().or(Some(Duration::ZERO)));
            } else if is("min-fresh") {
                // Here the larger number asks for more.
                control.min_fresh = control.min_fresh.max(argument.seconds());
            } else if is("max-stale") {
                let any = (argument == Argument::None).then_some(Duration::MAX);
                at_most(&mut control.max_stale, any.or(argument.seconds()));
            } else if is("stale-if-error") {
                at_most(&mut control.stale_if_error, argument.seconds());
            }
        }
        control
    }
}

fn at_most(slot: &mut Option<Duration>, value: Option<Duration>) {
    *slot = match (*slot, value) {
        (Some(old), Some(new)) => Some(old.min(new)),
        (old, new) => old.or(new),
    };
}

fn add_fields(slot: &mut Option<Fields>, fields: Fields) {
    match (slot, fields) {
        (Some(Fields::All), _) => {}
        (Some(Fields::Named(names)), Fields::Named(more)) => names.extend(more),
        (slot, fields) => *slot = Some(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    fn lines(field: HeaderName, values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (field.clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    fn response(values: &[&str]) -> ResponseCacheControl {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        ResponseCacheControl::parse(&lines(CACHE_CONTROL, &values))
    }

    fn request(value: &str) -> RequestCacheControl {
        RequestCacheControl::parse(&lines(CACHE_CONTROL, &[value.as_bytes()]))
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lifetime_is_read_or_taken_as_none_left() {
        // RFC 9111 §1.2.2, §4.2.1, §5.2.
        let table: &[(&[&str], Option<Duration>)] = &[
            (&[], None),
            (&[""], None),
            (&["public"], None),
            (&["max-age=5"], seconds(5)),
            (&["MAX-AGE=5"], seconds(5)),
            (&["  ,, max-age=5 ,"], seconds(5)),
            (&["max-age=005"], seconds(5)),
            (&["max-age=\"5\""], seconds(5)),
            (&["max-age=\"1\\5\""], seconds(15)),
            (&["max-age='5'"], seconds(0)),
            (&["max-age=2147483647"], seconds(2_147_483_647)),
            (&["max-age=2147483649"], seconds(2_147_483_648)),
            (&["max-age=99999999999999999999999999"], seconds(2_147_483_648)),
            (&["max-age"], seconds(0)),
            (&["max-age="], seconds(0)),
            (&["max-age=\"\""], seconds(0)),
            (&["max-age=-1"], seconds(0)),
            (&["max-age=+1"], seconds(0)),
            (&["max-age=5.5"], seconds(0)),
            (&["max-age=a2"], seconds(0)),
            (&["max-age=2a"], seconds(0)),
            (&["max-age=2 a"], seconds(0)),
            (&["max-age =5"], seconds(0)),
            (&["max-age= 5"], seconds(0)),
            (&["max-age=5; private"], seconds(0)),
            (&["\"max-age=5\""], seconds(0)),
            (&["max-age=5, max-age=9"], seconds(5)),
            (&["max-age=9, max-age=5"], seconds(5)),
            (&["max-age=9", "max-age=5"], seconds(5)),
            (&["max-age=9, max-age=x"], seconds(0)),
            (&["x=\"max-age=9\", max-age=5"], seconds(5)),
            (&["max-age=5, x=\"max-age=1\""], seconds(5)),
            (&["x=\"a, max-age=1\", max-age=5"], seconds(5)),
            (&["x=\"\\\", max-age=1\", max-age=5"], seconds(5)),
            (&["x-max-age=1, max-age=5, max-ages=2"], seconds(5)),
        ];
        for (values, max_age) in table {
            assert_eq!(response(values).max_age, *max_age, "{values:?}");
        }
    }

    #[test]
    fn what_a_lenient_reader_takes_for_no_store_is_no_store() {
        // RFC 9111 §5.2.2.5.
        for value in [
            "no-store",
            "No-StOrE",
            " no-store ",
            "\tno-store\t",
            "no-store=1",
            "no-store=\"\"",
            "no-store =1",
            "no-store;max-age=5",
            ";no-store",
            "\"no-store\"",
            "max-age=5,no-store",
            "max-age=5,,no-store",
            "x=\"a, no-store",
            "x=\"a\" b, no-store",
            "x=\"a\\\", no-store, y=\"b\"",
            "x\"y, no-store, z\"",
        ] {
            assert!(response(&[value]).no_store, "{value}");
        }
        for value in ["no_store", "x=no-store", "x=\"no-store\"", "no-stores", "x=\"a, no-store\""] {
            assert!(!response(&[value]).no_store, "{value}");
        }
    }

    #[test]
    fn private_and_no_cache_name_fields_or_mean_everything() {
        // RFC 9111 §5.2.2.4, §5.2.2.7.
        let named = |names: &[&'static str]| {
            Some(Fields::Named(names.iter().map(|name| HeaderName::from_static(name)).collect()))
        };
        let table: &[(&[&str], Option<Fields>)] = &[
            (&["public"], None),
            (&["private"], Some(Fields::All)),
            (&["PRIVATE"], Some(Fields::All)),
            (&["private=\"Set-Cookie\""], named(&["set-cookie"])),
            (&["private=\"a, b\", max-age=5"], named(&["a", "b"])),
            (&["private=\"a\"", "private=\"b\""], named(&["a", "b"])),
            (&["private=\"a\", private"], Some(Fields::All)),
            (&["private, private=\"a\""], Some(Fields::All)),
            (&["private=a"], Some(Fields::All)),
            (&["private="], Some(Fields::All)),
            (&["private=\"\""], Some(Fields::All)),
            (&["private=\" , \""], Some(Fields::All)),
            (&["private=\"a b\""], Some(Fields::All)),
            (&["private=\"a\\b\""], named(&["ab"])),
            (&["private=\"a\\,b\""], named(&["a", "b"])),
            (&["private=\"a\\ b\""], Some(Fields::All)),
            (&["private=\""], Some(Fields::All)),
            (&["private=\"a"], Some(Fields::All)),
            (&["private=\"a\"b"], Some(Fields::All)),
            (&["private= \"a\""], Some(Fields::All)),
        ];
        for (values, fields) in table {
            assert_eq!(response(values).private, *fields, "{values:?}");
            let values: Vec<_> =
                values.iter().map(|value| value.to_lowercase().replace("private", "no-cache")).collect();
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            assert_eq!(response(&values).no_cache, *fields, "{values:?}");
        }
    }

    #[test]
    fn flags_that_permit_must_be_spelt_right() {
        let control = response(&["public=1, must-understand=1"]);
        assert_eq!(control, ResponseCacheControl::default());
        let control = response(&["PUBLIC, Must-Understand, immutable"]);
        assert!(control.public && control.must_understand && control.immutable);
        assert!(response(&["immutable=x"]).immutable);
    }

    #[test]
    fn flags_that_restrict_count_whatever_their_argument() {
        let control = response(&["must-revalidate=0, proxy-revalidate=\"\", no-transform=no"]);
        assert!(control.must_revalidate && control.proxy_revalidate && control.no_transform);
    }

    #[test]
    fn stale_windows_that_cannot_be_read_are_absent() {
        // RFC 5861 §3, §4.
        let control = response(&["stale-while-revalidate=x, stale-if-error"]);
        assert_eq!(control, ResponseCacheControl::default());
        let control = response(&["stale-while-revalidate=9, stale-if-error=\"7\", stale-while-revalidate=8"]);
        assert_eq!(control.stale_while_revalidate, seconds(8));
        assert_eq!(control.stale_if_error, seconds(7));
    }

    #[test]
    fn bytes_outside_ascii_hide_no_directive() {
        let control = ResponseCacheControl::parse(&lines(
            CACHE_CONTROL,
            &[b"x=\xff, \xa0no-store, max-age=5", b"s-maxage=\"\xe9\""],
        ));
        assert!(control.no_store);
        assert_eq!(control.max_age, seconds(5));
        assert_eq!(control.s_maxage, seconds(0));
    }

    #[test]
    fn request_directives_are_read() {
        // RFC 9111 §5.2.1.
        let control =
            request("No-Cache, no-store, only-if-cached, no-transform, max-age=9, max-age=8, min-fresh=7");
        assert!(control.no_cache && control.no_store && control.only_if_cached && control.no_transform);
        assert_eq!(control.max_age, seconds(8));
        assert_eq!(control.min_fresh, seconds(7));
        let table: &[(&str, RequestCacheControl)] = &[
            ("max-age=x", RequestCacheControl { max_age: seconds(0), ..Default::default() }),
            ("max-stale", RequestCacheControl { max_stale: Some(Duration::MAX), ..Default::default() }),
            ("max-stale=5, max-stale", RequestCacheControl { max_stale: seconds(5), ..Default::default() }),
            ("max-stale=x, min-fresh=x, stale-if-error=x", RequestCacheControl::default()),
            ("min-fresh=5, min-fresh=9", RequestCacheControl { min_fresh: seconds(9), ..Default::default() }),
            ("stale-if-error=5", RequestCacheControl { stale_if_error: seconds(5), ..Default::default() }),
        ];
        for (value, control) in table {
            assert_eq!(request(value), *control, "{value}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        // RFC 9111 §5.4.
        let mut headers = lines(PRAGMA, &[b"x, No-Cache"]);
        assert!(RequestCacheControl::parse(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
        assert!(!RequestCacheControl::parse(&headers).no_cache);
        assert!(!RequestCacheControl::parse(&lines(PRAGMA, &[b"x"])).no_cache);
    }
}
