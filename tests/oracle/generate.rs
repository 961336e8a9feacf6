//! Random messages, with a bias towards what caches get wrong.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::sample::select;

use super::fields::Fields;
use super::reuse::Failure;
use super::rfc9111::SECOND;

/// When responses come, in seconds since 1970; some fraction of a second is added.
const NOW: i64 = 1_800_000_000;

/// Distances from `NOW` and lengths of time at which rules change their mind.
const SECONDS: [i64; 16] =
    [0, 1, 2, 9, 10, 11, 59, 60, 61, 3600, 3601, 86_400, 864_000, 31_536_000, 2_147_483_648, 2_147_483_649];

/// Dates around `NOW` in every form, and some that are none.
static DATES: LazyLock<Vec<String>> = LazyLock::new(|| dates(&SECONDS));

/// Dates that meet more often.
static CLOSE_DATES: LazyLock<Vec<String>> = LazyLock::new(|| dates(&[0, 1]));

fn dates(distances: &[i64]) -> Vec<String> {
    let mut dates: Vec<String> =
        ["", "0", "-1", "now", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 31 Nov 1994 08:49:37 GMT"]
            .map(str::to_owned)
            .into();
    for offset in distances.iter().flat_map(|seconds| [*seconds, -seconds]) {
        let Ok(moment) = u64::try_from(NOW + offset) else { continue };
        let imf = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(moment));
        let [weekday, day, month, year, time, zone] = imf.split(' ').collect::<Vec<_>>()[..] else {
            unreachable!("six words")
        };
        let short = weekday.trim_end_matches(',');
        let unpadded = format!("{:>2}", day.trim_start_matches('0'));
        let long = format!("{short}day").replace("Tueday", "Tuesday");
        dates.extend([
            imf.to_lowercase(),
            format!("{long}, {day}-{month}-{} {time} {zone}", &year[2..]),
            format!("{short} {month} {unpadded} {time} {year}"),
            format!(" Mon, {day} {month} {year} {time} {zone}\t"),
            format!("{weekday} {day} {month} {year} {time} +0000"),
        ]);
        // The usual form as often as all others together.
        dates.extend(std::iter::repeat_n(imf, 5));
    }
    dates
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "9",
    "10",
    "11",
    "60",
    "061",
    "3600",
    "2147483647",
    "2147483648",
    "2147483649",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999999999999999999999999",
    "-1",
    "+1",
    "1.5",
    "1,5",
    "a",
    "",
    " 5",
    "5 ",
    "0x5",
];

const TAGS: &[&str] =
    &["\"a\"", "W/\"a\"", "\"b\"", "\"a,b\"", "\"\"", "w/\"a\"", "a", "\"a", "\"a b\"", "W/", "*", ""];

const DIRECTIVES: &[&str] = &[
    "max-age",
    "max-age",
    "max-age",
    "s-maxage",
    "s-maxage",
    "no-cache",
    "no-store",
    "private",
    "public",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "no-transform",
    "stale-while-revalidate",
    "stale-while-revalidate",
    "stale-if-error",
    "stale-if-error",
    "max-stale",
    "max-stale",
    "min-fresh",
    "min-fresh",
    "only-if-cached",
    "Max-Age",
    "NO-STORE",
    "Private",
    "extension",
    "",
];

const ARGUMENTS: &[&str] = &[
    "=\"set-cookie\"",
    "=\"Set-Cookie, X-A\"",
    "=\"x-a, , x-b\"",
    "=\"content-type\"",
    "=\"set\\-cookie\"",
    "=\"x a\"",
    "=\"max-age=1, no-store\"",
    "=\"a\\\"b, no-store\"",
    "=\"1\"2",
    "=\"60\"",
    "=\"6\\0\"",
    "=\"\"",
    "=\"5",
    "=x-a",
    "= 5",
    " = 5",
    "=5;x",
    "=5 6",
    "=\u{e9}",
    "=",
    "\\",
];

const SEPARATORS: &[&str] = &[", ", ", ", ", ", ",", " ,\t", ",,", ";", " ", ", ;", ",\"", ""];

/// One line of `Cache-Control`.
pub(crate) fn cache_control() -> impl Strategy<Value = String> {
    let argument = prop_oneof![
        3 => Just(String::new()),
        6 => select(NUMBERS).prop_map(|number| format!("={number}")),
        2 => select(ARGUMENTS).prop_map(str::to_owned),
    ];
    let directive = (select(DIRECTIVES), argument).prop_map(|(name, argument)| format!("{name}{argument}"));
    let well_formed = proptest::collection::vec((directive, select(SEPARATORS)), 0..5).prop_map(|members| {
        members.into_iter().map(|(directive, separator)| directive + separator).collect::<String>()
    });
    prop_oneof![
        12 => well_formed,
        1 => text(b"no-store,private=\"x\\; \t\xe9max-age=1"),
    ]
}

/// Characters out of a few, in any order.
pub(crate) fn text(bytes: &'static [u8]) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(bytes), 0..16)
        .prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}

fn line<V: Strategy<Value = String> + 'static>(
    name: &'static str,
    value: V,
) -> BoxedStrategy<(String, String)> {
    value.prop_map(move |value| (name.to_owned(), value)).boxed()
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(values).prop_map(str::to_owned)
}

fn date() -> impl Strategy<Value = String> {
    select(DATES.as_slice())
}

fn close_date() -> impl Strategy<Value = String> {
    select(CLOSE_DATES.as_slice())
}

fn fields(lines: impl Strategy<Value = (String, String)>, most: usize) -> impl Strategy<Value = Fields> {
    proptest::collection::vec(lines, 0..=most).prop_map(Fields)
}

pub(crate) fn response() -> impl Strategy<Value = Fields> {
    fields(
        prop_oneof![
            8 => line("cache-control", cache_control()),
            3 => line("date", date()),
            3 => line("expires", date()),
            3 => line("last-modified", date()),
            2 => line("age", one_of(NUMBERS)),
            2 => line("etag", one_of(TAGS)),
            1 => line("vary", vary()),
            1 => line("set-cookie", one_of(&["a=b", ""])),
            1 => line("content-type", one_of(&["text/html", "text/event-stream", " Text/Event-Stream ; x", "text/event-streams"])),
            1 => line("content-length", one_of(&["0", "5", "05", "5, 5", "-5", "", "99999999999999999999", "100", "101"])),
            1 => line("pragma", one_of(&["no-cache"])),
        ],
        7,
    )
}

pub(crate) fn vary() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => one_of(&["a", "A, b", "accept-encoding", "Accept-Language,a", "cookie", "*", "a,*", "", ",", "a b", "a;", "b ,\ta"]),
        1 => text(b"aAbB,, *\t\""),
    ]
}

/// What a cache reads of a request.
pub(crate) fn request() -> impl Strategy<Value = Fields> {
    fields(
        prop_oneof![
            6 => line("cache-control", cache_control()),
            2 => line("pragma", one_of(&["no-cache", "No-Cache", "x, no-cache=1", "x=\"no-cache\"", "", "no-cached"])),
            1 => line("authorization", one_of(&["Basic x"])),
            1 => line("a", one_of(&["1"])),
        ],
        3,
    )
}

/// What `Vary` may select by.
pub(crate) fn selecting() -> impl Strategy<Value = Fields> {
    let weighted = prop_oneof![
        3 => one_of(&["gzip", "gzip, br", "br,gzip", "GZIP;q=1.0", "gzip;q=0", "gzip ; q=0.5", "br;Q=0.50,gzip", "gzip;q=2", "", "gzip;q=0.0001"]),
        1 => text(b"ab,;q=01.\t \""),
    ]
    .boxed();
    fields(
        prop_oneof![
            line("a", text(b"ab,, \t\"\\\xe9")),
            line("b", one_of(&["1", "1,2", "1 ,2", "2,1", "", "1,,2"])),
            line("accept-encoding", weighted.clone()),
            line("accept-language", weighted),
            line("cookie", one_of(&["a=1", "a=1; b=2", "b=2", "", " a=1"])),
        ],
        4,
    )
}

/// The same fields in another spelling, and by chance not quite the same: blanks come and go where `mask` has a bit.
pub(crate) fn respelt(fields: &Fields, mask: u64) -> Fields {
    let respell = |value: &String| -> String {
        let pieces = value.chars().enumerate().map(|(at, char)| match char {
            _ if mask >> (at % 64) & 1 == 0 => char.to_string(),
            ',' => ", ".to_owned(),
            ' ' | '\t' => String::new(),
            char => char.to_string(),
        });
        pieces.collect()
    };
    Fields(fields.0.iter().map(|(name, value)| (name.clone(), respell(value))).collect())
}

/// Conditions and ranges.
pub(crate) fn conditional() -> impl Strategy<Value = Fields> {
    let tags = prop_oneof![
        3 => one_of(TAGS),
        2 => proptest::collection::vec((select(TAGS), select(SEPARATORS)), 0..4)
            .prop_map(|tags| tags.into_iter().flat_map(|(tag, separator)| [tag, separator]).collect()),
        1 => text(b"W/\"a\"\"b,, *\t"),
    ]
    .boxed();
    fields(
        prop_oneof![
            2 => line("if-none-match", tags.clone()),
            2 => line("if-modified-since", close_date()),
            5 => line("range", range()),
            1 => line("if-range", tags),
            1 => line("if-range", close_date()),
        ],
        3,
    )
}

fn range() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &["05", "18446744073709551615", "18446744073709551616", "x", "+1", " "];
    let position =
        || prop_oneof![8 => select(&["", "0", "1", "2", "3", "4", "5", "9"][..]), 1 => select(ODD)];
    let spec = (position(), prop_oneof![12 => Just("-"), 1 => select(&["--", ""][..])], position());
    const UNITS: &[&str] = &["Bytes=", "bytes =", "bytes= ", "items=", "bytes", "="];
    let unit = prop_oneof![4 => Just("bytes="), 1 => select(UNITS)];
    let specs = proptest::collection::vec((spec, select(&[",", ",", ", ", " ,", ",,"][..])), 0..5);
    (unit, specs).prop_map(|(unit, specs)| {
        let specs =
            specs.into_iter().map(|((first, dash, last), comma)| format!("{first}{dash}{last}{comma}"));
        format!("{unit}{}", specs.collect::<String>())
    })
}

/// What a response to a conditional request may have.
pub(crate) fn selected() -> impl Strategy<Value = Fields> {
    fields(
        prop_oneof![
            line("etag", one_of(TAGS)),
            line("last-modified", close_date()),
            line("date", close_date())
        ],
        4,
    )
}

pub(crate) fn status() -> impl Strategy<Value = u16> {
    const OFTEN: &[u16] = &[
        200, 200, 200, 200, 200, 203, 204, 206, 299, 300, 301, 302, 304, 307, 308, 404, 410, 418, 451, 499,
        500, 501, 503, 504, 599, 600, 999, 100, 101,
    ];
    prop_oneof![10 => select(OFTEN), 1 => 100..=999_u16]
}

pub(crate) fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Disconnected),
        select(&[500, 502, 503, 504, 501, 404, 200][..]).prop_map(Failure::Status)
    ]
}

/// A span near one of the bounds, or any.
pub(crate) fn span() -> impl Strategy<Value = i128> {
    let near = (select(&SECONDS[..]), -1..=1_i128)
        .prop_map(|(seconds, off)| (i128::from(seconds) * SECOND + off).max(0));
    let any = (0..4_000_i128 * SECOND).boxed();
    prop_oneof![3 => near, 1 => any, 1 => Just(i128::from(u64::MAX) * SECOND)]
}

/// A delay: mostly none, so that ages meet bounds.
pub(crate) fn delay() -> impl Strategy<Value = i128> {
    prop_oneof![3 => Just(0), 1 => span()]
}

/// A moment within a second of `NOW`.
pub(crate) fn moment() -> impl Strategy<Value = i128> {
    prop_oneof![Just(0), Just(1), 0..SECOND].prop_map(|fraction| i128::from(NOW) * SECOND + fraction)
}

pub(crate) fn method() -> impl Strategy<Value = &'static str> {
    select(&["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PURGE", "get"][..])
}
