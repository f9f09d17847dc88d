//! Query strings and forms as pairs of text, for every API.
//!
//! Owns reading and writing their text. Never knows which parameters exist.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but `A-Z a-z 0-9 - _ . ~` is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns the decoded pairs of `key=value&key=value` in order, including repeated keys. A key without `=` has an empty
/// value.
///
/// All pairs are returned, so that none is lost silently. The size limits of request targets and forms keep their
/// number small.
pub fn pairs(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Writes pairs so that [`pairs`] returns the same ones.
pub fn write(pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(key, RESERVED));
        text.push('=');
        text.extend(utf8_percent_encode(value, RESERVED));
    }
    text
}

/// Decodes `+` as a space, and percent-encoding. Bytes that are not UTF-8 become U+FFFD, which no grammar accepts.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{pairs, write};

    #[test]
    fn pairs_are_split_before_they_are_decoded() {
        let found = pairs("a=b%26c%3Dd&&e+f=%7e&g&a=2&x=%ff");
        let expected = [("a", "b&c=d"), ("e f", "~"), ("g", ""), ("a", "2"), ("x", "\u{fffd}")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(pairs(&"a=1&".repeat(1000)).len(), 1000);
    }

    #[test]
    fn pairs_that_are_written_are_read_again() {
        let given =
            [("a", "b&c=d+e %~"), ("e f", ""), ("ä|", "::/")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(write(&given[..1]), "a=b%26c%3Dd%2Be%20%25~");
        assert_eq!(pairs(&write(&given)), given);
    }
}
