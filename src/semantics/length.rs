//! How long does a message say that its content is? (`Content-Length`, RFC 9110 §8.6)

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// It says no number, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// One number, however often it is said.
pub(crate) fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Unreadable> {
    let mut length = None;
    for line in fields.get_all(CONTENT_LENGTH) {
        // `u64::from_str` takes a sign.
        let text = line.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let stated: u64 = text.and_then(|text| text.parse().ok()).ok_or(Unreadable)?;
        if length.is_some_and(|length| length != stated) {
            return Err(Unreadable);
        }
        length = Some(stated);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_length_is_one_number() {
        for (lines, length) in [
            (&[][..], Ok(None)),
            (&["10"], Ok(Some(10))),
            (&["10", "10"], Ok(Some(10))),
            (&["18446744073709551615"], Ok(Some(u64::MAX))),
            (&["10", "11"], Err(Unreadable)),
            (&["10, 10"], Err(Unreadable)),
            (&["+10"], Err(Unreadable)),
            (&["-1"], Err(Unreadable)),
            (&["ten"], Err(Unreadable)),
            (&[""], Err(Unreadable)),
            (&["99999999999999999999"], Err(Unreadable)),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            assert_eq!(content_length(&fields), length, "{lines:?}");
        }
    }
}
