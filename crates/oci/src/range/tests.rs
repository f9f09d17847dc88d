use proptest::prelude::{any, prop_oneof, proptest};
use proptest::strategy::Strategy;

use super::{ByteRange, ContentRange, ContentRangeError, ServedRange, parse_upload_range, upload_range};
use crate::testing::{assert_accepts_exactly, nearly, whole};

/// The bytes that a `Range` header selects, found by checking every byte.
fn selected(header: &str, size_bytes: u64) -> Option<Vec<u64>> {
    let found = whole("(?i:bytes)=(?:([0-9]+)-([0-9]*)|-([0-9]+))").captures(header)?;
    // Thirty digits fit into 128 bits.
    let number = |group: usize| {
        found.get(group).filter(|text| !text.is_empty()).map(|text| text.as_str().parse::<u128>().unwrap())
    };
    let size = u128::from(size_bytes);
    let is_selected = |position: u128| match (number(1), number(3)) {
        (Some(first), _) => first <= position && number(2).is_none_or(|last| position <= last),
        (None, Some(count)) => position + count >= size,
        (None, None) => false,
    };
    Some((0..size_bytes).filter(|position| is_selected(u128::from(*position))).collect())
}

fn range_text() -> impl Strategy<Value = String> + Clone {
    let number = || prop_oneof![3 => "[0-9]", 2 => "[0-9]{2}", 1 => "[0-9]{19,30}"];
    let optional = || prop_oneof![3 => number(), 1 => ""];
    (optional(), optional()).prop_map(|(first, last)| format!("bytes={first}-{last}")).boxed()
}

proptest! {
    #[test]
    fn a_range_selects_the_bytes_it_names(header in nearly(range_text(), "0159-=,bytesB "), size_bytes in 0..120_u64) {
        let range = ByteRange::parse(&header, size_bytes);
        match selected(&header, size_bytes) {
            None => assert_eq!(range, ByteRange::Whole),
            // A suffix range of empty content selects the whole content, which has no bytes.
            Some(_) if size_bytes == 0 && range == ByteRange::Whole => {
                assert!(!header[6..].trim_matches(['-', '0']).is_empty());
            }
            Some(bytes) => match (bytes.first(), bytes.last()) {
                (Some(first), Some(last)) => assert_eq!(range, ByteRange::Part(*first..=*last)),
                _ => assert_eq!(range, ByteRange::Unsatisfiable),
            },
        }
    }

    #[test]
    fn what_the_client_asks_for_is_what_it_gets(first in any::<u64>(), more in any::<u64>(), beyond in 1..=u64::MAX) {
        let last = first.saturating_add(more);
        let Some(size_bytes) = last.checked_add(beyond) else { return Ok(()) };
        let parse = |header: String| ByteRange::parse(&header, size_bytes);
        assert_eq!(parse(ByteRange::header(first, Some(last))), ByteRange::Part(first..=last));
        assert_eq!(parse(ByteRange::header(first, None)), ByteRange::Part(first..=size_bytes - 1));
        let served = ServedRange { first, last, size_bytes };
        assert_eq!(ByteRange::Part(first..=last).content_range(size_bytes), Some(served.to_string()));
        assert_eq!(served.to_string().parse(), Ok(served));
    }

    #[test]
    fn served_ranges_follow_http(text in nearly("bytes [1-9][0-9]{0,2}-[1-9][0-9]{0,2}/[1-9][0-9]{0,20}", "019-/*bytes ")) {
        let number = "([0-9]+)";
        let expected = whole(&format!("bytes {number}-{number}/{number}")).captures(&text).is_some_and(|found| {
            let [first, last, size] = [1, 2, 3].map(|group| found[group].parse::<u64>());
            matches!((first, last, size), (Ok(first), Ok(last), Ok(size)) if first <= last && last < size)
        });
        let parsed = text.parse::<ServedRange>();
        assert_eq!(parsed.is_ok(), expected, "{text:?} gives {parsed:?}");
    }

    #[test]
    fn ranges_of_chunks_keep_their_text(offset_bytes in any::<u64>(), size_bytes in 1..=u64::MAX) {
        let Some(range) = ContentRange::of_chunk(offset_bytes, size_bytes) else { return Ok(()) };
        assert_accepts_exactly::<ContentRange>(&range.to_string(), true);
        assert_eq!((range.first(), range.size_bytes()), (offset_bytes, size_bytes));
    }

    #[test]
    fn ranges_of_chunks_follow_the_specification(text in nearly("[0-9]{1,3}-[0-9]{1,22}", "0123456789-+/ bytes")) {
        let found = whole("([0-9]+)-([0-9]+)").captures(&text);
        let numbers = found.and_then(|found| Some((found[1].parse::<u64>().ok()?, found[2].parse::<u64>().ok()?)));
        match (text.parse::<ContentRange>(), numbers) {
            (Ok(range), Some(numbers)) => assert_eq!((range.first(), range.last()), numbers),
            (Err(ContentRangeError::Backwards { first, last }), Some(numbers)) => {
                assert!((first, last) == numbers && first > last);
            }
            (Err(ContentRangeError::Malformed(_)), None) => {}
            (parsed, _) => panic!("{text:?} gives {parsed:?}"),
        }
    }

    #[test]
    fn upload_ranges_give_the_offset_back(offset_bytes in any::<u64>()) {
        let expected = if offset_bytes == 1 { 0 } else { offset_bytes };
        assert_eq!(parse_upload_range(&upload_range(offset_bytes)), Some(expected));
    }

    #[test]
    fn upload_ranges_begin_at_the_beginning(text in nearly("0-[0-9]{1,22}", "0123456789-+ bytes=")) {
        let last = whole("0-([0-9]+)").captures(&text).and_then(|found| found[1].parse::<u64>().ok());
        let expected = last.is_some_and(|last| last < u64::MAX);
        assert_eq!(parse_upload_range(&text).is_some(), expected);
    }
}

#[test]
fn ranges_of_the_conformance_suite() {
    for (header, expected) in [
        ("bytes=500-1499", ByteRange::Part(500..=1499)),
        ("bytes=500-", ByteRange::Part(500..=4099)),
        ("bytes=-500", ByteRange::Part(3600..=4099)),
        ("bytes=2000-5000", ByteRange::Part(2000..=4099)),
        ("bytes=500-0", ByteRange::Unsatisfiable),
        ("bytes=5000-10000", ByteRange::Unsatisfiable),
        ("bytes=0-99999999999999999999", ByteRange::Part(0..=4099)),
        ("bytes=99999999999999999999-", ByteRange::Unsatisfiable),
        ("bytes=abc", ByteRange::Whole),
        ("lines=0-3", ByteRange::Whole),
        ("bytes=--5", ByteRange::Whole),
        ("bytes=-", ByteRange::Whole),
        ("bytes=0-1,3-4", ByteRange::Whole),
    ] {
        assert_eq!(ByteRange::parse(header, 4100), expected, "{header}");
    }
}

#[test]
fn an_empty_blob_has_no_bytes_to_select() {
    assert_eq!(ByteRange::parse("bytes=0-", 0), ByteRange::Unsatisfiable);
    assert_eq!(ByteRange::parse("bytes=-5", 0), ByteRange::Whole);
    assert_eq!(ByteRange::Unsatisfiable.content_range(0).as_deref(), Some("bytes */0"));
    assert_eq!(ByteRange::Whole.content_range(0), None);
}

#[test]
fn bad_ranges_of_chunks() {
    for text in ["", "abc", "bytes 0-9/10", "0-9/10", "-1-5", "0-", "-9", "+0-9", "0-99999999999999999999", " 0-9"] {
        assert!(matches!(text.parse::<ContentRange>(), Err(ContentRangeError::Malformed(_))), "{text:?}");
    }
    assert_eq!("9-0".parse::<ContentRange>(), Err(ContentRangeError::Backwards { first: 9, last: 0 }));
}
