//! `Range` and `If-Range` against a response, whose length is the first line (RFC 9110 §14, §13.1.5).

use http::HeaderMap;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, RANGE};
use tower_edge::semantics::part::{content_range, multipart, parse_content_range, unsatisfied_range};
use tower_edge::semantics::range::{Selection, is_single, select};

use super::value;

pub fn run(data: &[u8]) {
    let (first, rest) = match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let length = std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let [request, response] = super::sections(rest);
    for most in [1, 2, 16] {
        match select(&request, &response, length, most) {
            Selection::Whole => {}
            Selection::Unsatisfiable => {
                assert_eq!(unsatisfied_range(length), format!("bytes */{length}"));
            }
            Selection::Parts(parts) => {
                assert!((1..=most).contains(&parts.len()));
                assert!(
                    parts.iter().all(|part| part.start < part.end && part.end <= length),
                    "{parts:?} of {length}"
                );
                assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start), "{parts:?}");
                spelt_out_they_are_the_same(&parts, length, most);
                a_frame_is_as_long_as_it_says(&parts, length, &response);
            }
        }
    }
    if let Selection::Parts(parts) = select(&request, &response, length, 16) {
        assert!(parts.len() == 1 || !is_single(&request));
    }
    if let Some((range, complete)) = parse_content_range(&response) {
        assert!(range.start < range.end && range.end <= complete);
        let again = HeaderMap::from_iter([(CONTENT_RANGE, content_range(&range, complete))]);
        assert_eq!(parse_content_range(&again), Some((range, complete)));
    }
    // RFC 9110 §13.1.5: a condition can only make it whole.
    let mut unconditional = request.clone();
    if unconditional.remove(IF_RANGE).is_some() {
        let selected = select(&request, &response, length, 16);
        assert!(selected == Selection::Whole || selected == select(&unconditional, &response, length, 16));
    }
}

fn spelt_out_they_are_the_same(parts: &[std::ops::Range<u64>], length: u64, most: usize) {
    let specs: Vec<String> = parts.iter().map(|part| format!("{}-{}", part.start, part.end - 1)).collect();
    let request = HeaderMap::from_iter([(RANGE, value(format!("bytes={}", specs.join(","))))]);
    assert_eq!(select(&request, &HeaderMap::new(), length, most), Selection::Parts(parts.into()));
    for (part, spec) in parts.iter().zip(specs) {
        assert_eq!(content_range(part, length), format!("bytes {spec}/{length}"));
    }
}

fn a_frame_is_as_long_as_it_says(parts: &[std::ops::Range<u64>], length: u64, response: &HeaderMap) {
    let frame = multipart(parts, length, response.get(CONTENT_TYPE), 7);
    assert_eq!(frame.openings.len(), parts.len());
    let frames: usize =
        frame.openings.iter().map(|opening| opening.len()).sum::<usize>() + frame.closing.len();
    let content: u64 = parts.iter().map(|part| part.end - part.start).sum();
    assert_eq!(frame.length, content.saturating_add(frames as u64));
}
