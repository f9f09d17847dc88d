//! Query strings and forms as pairs of text, for every API alike.
//!
//! Owns their text, to read and to write. Never: which parameters there are.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but `A-Z a-z 0-9 - _ . ~` is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The pairs of `key=value&key=value`, decoded, in order, repeated ones kept. A key without `=` has an empty value.
///
/// All of them, since none may be lost in silence; the limits of targets and forms keep their number small.
pub fn pairs(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Writes pairs so that [`pairs`] reads the same ones.
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

/// `+` is a space, everything else is percent-encoded. Bytes that are not UTF-8 become a mark that no grammar accepts.
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
