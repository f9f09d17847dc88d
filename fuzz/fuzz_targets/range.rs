//! `Range`, `Content-Range` in both dialects, and the `Range` of an upload: no number overflows, what is accepted comes
//! back from its own text, and a part that is served exists.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use transship_oci::{ByteRange, ContentRange, ContentRangeError, ServedRange, parse_upload_range, upload_range};

// Eight bytes of size, then the header.
fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((size, text)) = data.split_first_chunk::<8>() else { return Corpus::Reject };
    let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
    let size_bytes = u64::from_le_bytes(*size);
    read(text, size_bytes);
    chunk(text);
    served(text);
    if let Some(offset_bytes) = parse_upload_range(text) {
        assert_eq!(parse_upload_range(&upload_range(offset_bytes)), Some(offset_bytes));
    }
    let offset_back = parse_upload_range(&upload_range(size_bytes));
    assert_eq!(offset_back, Some(if size_bytes == 1 { 0 } else { size_bytes }));
    Corpus::Keep
});

fn read(text: &str, size_bytes: u64) {
    let range = ByteRange::parse(text, size_bytes);
    match &range {
        ByteRange::Whole => assert_eq!(range.content_range(size_bytes), None),
        ByteRange::Unsatisfiable => {
            assert_eq!(range.content_range(size_bytes), Some(format!("bytes */{size_bytes}")));
        }
        ByteRange::Part(part) => {
            let (first, last) = (*part.start(), *part.end());
            assert!(first <= last && last < size_bytes, "{text:?} of {size_bytes}");
            let header = range.content_range(size_bytes).expect("a part says which");
            assert_eq!(header.parse(), Ok(ServedRange { first, last, size_bytes }));
            assert_eq!(ByteRange::parse(&ByteRange::header(first, Some(last)), size_bytes), range);
            // Only a single range of bytes is ever served in part.
            assert!(text.get(..6).is_some_and(|unit| unit.eq_ignore_ascii_case("bytes=")));
            assert!(text[6..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
            assert_eq!(text.matches('-').count(), 1);
        }
    }
}

fn chunk(text: &str) {
    match text.parse::<ContentRange>() {
        Ok(range) => {
            assert!(range.first() <= range.last());
            assert_eq!(range.to_string().parse(), Ok(range));
            // The one range of 2^64 bytes has a size that 64 bits cannot hold.
            if range.last() - range.first() < u64::MAX {
                assert_eq!(ContentRange::of_chunk(range.first(), range.size_bytes()), Some(range));
            }
        }
        Err(ContentRangeError::Backwards { first, last }) => assert!(last < first),
        Err(ContentRangeError::Malformed(error)) => assert!(!error.to_string().contains(char::is_control)),
    }
}

fn served(text: &str) {
    if let Ok(range) = text.parse::<ServedRange>() {
        assert!(range.first <= range.last && range.last < range.size_bytes);
        assert_eq!(range.to_string().parse(), Ok(range));
    }
}
