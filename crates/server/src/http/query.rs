//! Query strings and forms as pairs of text, for every API alike.
//!
//! Owns: the decoding. Never: which parameters there are.

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

/// `+` is a space, everything else is percent-encoded. Bytes that are not UTF-8 become a mark that no grammar accepts.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn pairs_are_split_before_they_are_decoded() {
        let found = pairs("a=b%26c%3Dd&&e+f=%7e&g&a=2&x=%ff");
        let expected = [("a", "b&c=d"), ("e f", "~"), ("g", ""), ("a", "2"), ("x", "\u{fffd}")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(pairs(&"a=1&".repeat(1000)).len(), 1000);
    }
}
