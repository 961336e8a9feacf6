//! When do two answers to one request say the same? nginx is asked beside the edge, and this compares.

use crate::client::Answer;

/// What describes the representation, and so must come through unchanged.
const REPRESENTATION: &[&str] = &[
    "content-type",
    "content-length",
    "content-range",
    "content-encoding",
    "last-modified",
    "etag",
    "cache-control",
    "vary",
];

/// What a 304 owes its client (RFC 9110 §15.4.5). nginx adds `Last-Modified`, which the RFC advises against.
const NOT_MODIFIED: &[&str] = &["etag", "cache-control", "vary"];

/// Ends the test where the edge's answer differs from nginx's in more than it may.
pub(crate) fn assert_agree(case: &str, nginx: &Answer, edge: &Answer) {
    assert_eq!(nginx.status, edge.status, "{case}: status\n{nginx:?}\n{edge:?}");
    match nginx.status {
        206 => {
            assert_fields(case, nginx, edge, &["last-modified", "etag", "cache-control", "vary"]);
            // The boundary of a multipart body is everyone's own choice, and with it the body's length.
            assert_eq!(parts(nginx), parts(edge), "{case}: parts");
        }
        304 => assert_fields(case, nginx, edge, NOT_MODIFIED),
        // The rest of an error answer is a page about the server that wrote it.
        416 => assert_fields(case, nginx, edge, &["content-range"]),
        _ => {
            assert_fields(case, nginx, edge, REPRESENTATION);
            assert_same_bytes(case, &nginx.body, &edge.body);
        }
    }
}

/// Like `assert_eq`, without printing megabytes.
pub(crate) fn assert_same_bytes(case: &str, expected: &[u8], found: &[u8]) {
    if expected != found {
        let same = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
        panic!("{case}: {} bytes instead of {}, different from byte {same} on", found.len(), expected.len());
    }
}

fn assert_fields(case: &str, nginx: &Answer, edge: &Answer, names: &[&str]) {
    for &name in names {
        let expected = nginx.field(name);
        // An answer sent in chunks has no length; one from the store may have it.
        if name == "content-length" && expected.is_none() {
            continue;
        }
        assert_eq!(expected, edge.field(name), "{case}: {name}");
    }
}

/// One part of a 206.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    content_type: Option<String>,
    content_range: String,
    bytes: Vec<u8>,
}

fn parts(answer: &Answer) -> Vec<Part> {
    let content_type = answer.field("content-type").unwrap_or_default();
    let Some(boundary) = content_type.strip_prefix("multipart/byteranges; boundary=") else {
        return vec![Part {
            content_type: Some(content_type),
            content_range: answer.field("content-range").expect("a single 206 says which range it is"),
            bytes: answer.body.clone(),
        }];
    };
    assert_eq!(answer.field("content-range"), None, "RFC 9110 §15.3.7.2: not beside multipart");
    let delimiter = format!("\r\n--{}", boundary.trim_matches('"'));
    // The first delimiter may lack the line end before it, when no preamble precedes it.
    let mut rest = [b"\r\n", answer.body.as_slice()].concat();
    let start = find(&rest, delimiter.as_bytes()).expect("a multipart body has a part");
    rest.drain(..start + delimiter.len());
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let head_end = find(&rest, b"\r\n\r\n").expect("a part has a head");
        let head = std::str::from_utf8(&rest[..head_end]).expect("a part's head is text").to_owned();
        let end = find(&rest, delimiter.as_bytes()).expect("a part ends in a delimiter");
        parts.push(Part {
            content_type: part_field(&head, "content-type"),
            content_range: part_field(&head, "content-range").expect("a part says which range it is"),
            bytes: rest[head_end + 4..end].to_vec(),
        });
        rest.drain(..end + delimiter.len());
    }
    parts
}

fn part_field(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
