//! Byte ranges: of a read, of the response to it, and of an upload.
//!
//! Owns the text of `Range` and `Content-Range` in two dialects: HTTP's for reads, and the registry protocol's shorter
//! one for uploads, which has no unit.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::text::GrammarError;

/// The bytes that the `Range` header of a read selects from content of a known size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ByteRange {
    /// Everything: the header is not understood, asks for several ranges, or asks for the end of empty content.
    Whole,
    /// These bytes, all of which exist.
    Part(RangeInclusive<u64>),
    /// None of the selected bytes exists.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads a `Range` header. A header that is not a single range of bytes selects everything, as HTTP allows.
    pub fn parse(header: &str, size_bytes: u64) -> ByteRange {
        let Some((unit, range)) = header.split_once('=') else { return ByteRange::Whole };
        let Some((first, last)) = range.split_once('-') else { return ByteRange::Whole };
        if !unit.eq_ignore_ascii_case("bytes") {
            return ByteRange::Whole;
        }
        match (clipped_number(first), clipped_number(last)) {
            (Some(first), Some(last)) => ByteRange::from_to(first, last, size_bytes),
            (Some(first), None) if last.is_empty() => ByteRange::from_to(first, u64::MAX, size_bytes),
            (None, Some(count)) if first.is_empty() => ByteRange::at_end(count, size_bytes),
            _ => ByteRange::Whole,
        }
    }

    fn from_to(first: u64, last: u64, size_bytes: u64) -> ByteRange {
        if first <= last && first < size_bytes {
            ByteRange::Part(first..=last.min(size_bytes - 1))
        } else {
            ByteRange::Unsatisfiable
        }
    }

    fn at_end(count: u64, size_bytes: u64) -> ByteRange {
        match (count, size_bytes) {
            (0, _) => ByteRange::Unsatisfiable,
            (_, 0) => ByteRange::Whole,
            _ => ByteRange::Part(size_bytes.saturating_sub(count)..=size_bytes - 1),
        }
    }

    /// Returns the `Range` header for these bytes, or for everything from `first` on if `last` is `None`.
    pub fn header(first: u64, last: Option<u64>) -> String {
        match last {
            Some(last) => format!("bytes={first}-{last}"),
            None => format!("bytes={first}-"),
        }
    }

    /// Returns the `Content-Range` header of the response: the bytes that are sent (206), or the size of the content
    /// (416).
    pub fn content_range(&self, size_bytes: u64) -> Option<String> {
        match self {
            ByteRange::Whole => None,
            ByteRange::Part(part) => {
                Some(ServedRange { first: *part.start(), last: *part.end(), size_bytes }.to_string())
            }
            ByteRange::Unsatisfiable => Some(format!("bytes */{size_bytes}")),
        }
    }
}

/// Parses a number of any length; one that does not fit becomes `u64::MAX`.
fn clipped_number(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().unwrap_or(u64::MAX))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The `Content-Range` of a partial read, `bytes 0-9/100`: first and last byte, and total size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServedRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, at least `first`.
    pub last: u64,
    /// The size of the whole content, greater than `last`.
    pub size_bytes: u64,
}

impl FromStr for ServedRange {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        parse_served(text)
            .filter(|range| range.first <= range.last && range.last < range.size_bytes)
            .ok_or_else(|| GrammarError::new("content range", text, "\"bytes first-last/size\""))
    }
}

fn parse_served(text: &str) -> Option<ServedRange> {
    let (range, size_bytes) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(ServedRange { first: number(first)?, last: number(last)?, size_bytes: number(size_bytes)? })
}

/// Parses digits only; unlike the standard parser, accepts no plus sign.
fn number(text: &str) -> Option<u64> {
    if is_number(text) { text.parse().ok() } else { None }
}

impl fmt::Display for ServedRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bytes {}-{}/{}", self.first, self.last, self.size_bytes)
    }
}

/// The `Content-Range` of a chunk of an upload, `0-9`: the position of its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentRange {
    first: u64,
    last: u64,
}

/// Why a text is not the range of a chunk.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ContentRangeError {
    /// It does not follow the grammar: status 400.
    #[error(transparent)]
    Malformed(#[from] GrammarError),
    /// It ends before it begins: status 416.
    #[error("content range {first}-{last} ends before it begins")]
    Backwards {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
}

impl ContentRange {
    /// Returns the range of a chunk of this many bytes at this offset; `None` for an empty chunk or on overflow.
    pub fn of_chunk(offset_bytes: u64, size_bytes: u64) -> Option<ContentRange> {
        let last = offset_bytes.checked_add(size_bytes.checked_sub(1)?)?;
        Some(ContentRange { first: offset_bytes, last })
    }

    /// The offset of the first byte.
    pub fn first(self) -> u64 {
        self.first
    }

    /// The offset of the last byte, at least that of the first.
    pub fn last(self) -> u64 {
        self.last
    }

    /// The number of bytes.
    pub fn size_bytes(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl FromStr for ContentRange {
    type Err = ContentRangeError;

    fn from_str(text: &str) -> Result<Self, ContentRangeError> {
        let numbers = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
        match numbers {
            Some((first, last)) if first <= last => Ok(ContentRange { first, last }),
            Some((first, last)) => Err(ContentRangeError::Backwards { first, last }),
            None => Err(GrammarError::new("content range of a chunk", text, "\"first-last\"").into()),
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

/// The `Range` header of an upload that has this many bytes: `0-<last>`.
///
/// An empty upload is `0-0`, like one with a single byte: the protocol has no other way, and clients expect it.
pub fn upload_range(offset_bytes: u64) -> String {
    format!("0-{}", offset_bytes.saturating_sub(1))
}

/// Reads from a registry's `Range` header how many bytes an upload has; `0-0` is read as none.
pub fn parse_upload_range(header: &str) -> Option<u64> {
    match number(header.strip_prefix("0-")?)? {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests;
