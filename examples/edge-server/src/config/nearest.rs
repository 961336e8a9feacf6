//! What a misspelt word may have been meant to be.

/// The known word that is fewest changes away, if that is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // Of one letter nothing is left after a change.
    let near = (length / 3).max(1).min(length.saturating_sub(1));
    known
        .map(|known| (changes(word, known), known))
        .filter(|(changes, _)| *changes <= near)
        .min()
        .map(|(_, known)| known)
}

/// How many characters to insert, drop, replace or swap with their neighbour (optimal string alignment).
fn changes(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut fewest = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    fewest = fewest.min(rows[i - 2][j - 2] + 1);
                }
                fewest
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["ttl", "origin", "strip-prefix", "first-byte-time"];
        for (word, meant) in [
            ("tl", Some("ttl")),
            ("ttll", Some("ttl")),
            ("orign", Some("origin")),
            ("orgiin", Some("origin")),
            ("strip_prefix", Some("strip-prefix")),
            ("first-byte-timeout", Some("first-byte-time")),
            ("host", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}
