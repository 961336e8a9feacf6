//! As much of XML as a manifest needs: elements, their attributes, and text. What is no XML ends the reading early.

use std::borrow::Cow;

/// Reads one thing after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// An element begins, and ends at once if it `is_empty`.
    Open {
        name: &'a str,
        attributes: &'a str,
        is_empty: bool,
    },
    Close {
        name: &'a str,
    },
    Text(Cow<'a, str>),
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let Some(markup) = self.rest.strip_prefix('<') else {
                let (text, rest) = self.rest.split_at(self.rest.find('<').unwrap_or(self.rest.len()));
                self.rest = rest;
                return Some(Event::Text(unescaped(text.trim())));
            };
            let skipped = [("!--", "-->"), ("?", "?>"), ("![CDATA[", "]]>"), ("!", ">")]
                .iter()
                .find_map(|(start, end)| Some((markup.strip_prefix(start)?, *end)));
            if let Some((inner, end)) = skipped {
                self.rest = inner.split_once(end)?.1;
                continue;
            }
            let end = end_of_tag(markup)?;
            let (tag, rest) = (&markup[..end], &markup[end + 1..]);
            self.rest = rest;
            if let Some(name) = tag.strip_prefix('/') {
                return Some(Event::Close { name: local(name.trim()) });
            }
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, attributes) =
                tag.split_at(tag.find(|c: char| c.is_ascii_whitespace()).unwrap_or(tag.len()));
            return Some(Event::Open { name: local(name), attributes, is_empty });
        }
    }
}

/// Where the tag ends: the first `>` outside of quotes.
fn end_of_tag(markup: &str) -> Option<usize> {
    let mut quote = None;
    markup.bytes().position(|byte| match quote {
        Some(open) => {
            if byte == open {
                quote = None;
            }
            false
        }
        None if matches!(byte, b'"' | b'\'') => {
            quote = Some(byte);
            false
        }
        None => byte == b'>',
    })
}

/// The value of an attribute.
pub(super) fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut rest = attributes;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, after) = after[1..].split_once(quote)?;
        if name.trim() == wanted {
            return Some(unescaped(value));
        }
        rest = after;
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, name)| name)
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Cow::Owned(text.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_text_are_read_and_the_rest_is_skipped() {
        let text = "<?xml version=\"1.0\"?><!DOCTYPE x><!-- <a> --><x:A b='1' c = \"<&amp;>\"><B/>t&amp;t</x:A><![CDATA[<C>]]>";
        let events: Vec<Event<'_>> = Reader::new(text).collect();
        assert_eq!(
            events,
            [
                Event::Open { name: "A", attributes: " b='1' c = \"<&amp;>\"", is_empty: false },
                Event::Open { name: "B", attributes: "", is_empty: true },
                Event::Text("t&t".into()),
                Event::Close { name: "A" },
            ]
        );
        let Event::Open { attributes, .. } = &events[0] else { panic!() };
        assert_eq!(attribute(attributes, "b").as_deref(), Some("1"));
        assert_eq!(attribute(attributes, "c").as_deref(), Some("<&>"));
        assert_eq!(attribute(attributes, "d"), None);
    }

    #[test]
    fn what_is_broken_ends_the_reading() {
        for broken in ["<", "<a", "<!--", "<a b=\">", "<?x", "<![CDATA[x"] {
            assert_eq!(Reader::new(broken).count(), 0, "{broken}");
        }
        for broken in ["b", "b=", "b=1", "b=\"1", "=\"\" b"] {
            assert_eq!(attribute(broken, "b"), None, "{broken}");
        }
    }
}
