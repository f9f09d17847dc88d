//! Pages: `limit` and `offset`, `marker`, order and `Content-Range` (contract 1.3), to read and to write.

use std::fmt;
use std::str::FromStr;

use crate::error::{ApiError, ErrorCode};
use crate::query::{Query, missing};

/// Page size if no limit is given.
pub const DEFAULT_LIMIT: i64 = 100;
/// Maximum page size; a larger limit is cut to it.
pub const MAX_LIMIT: i64 = 1000;

/// A page of a list that is paged by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Maximum number of records on it.
    pub limit: i64,
    /// Number of records before it.
    pub offset: i64,
}

impl Page {
    /// Reads a page. If only one of the two numbers is given, the other has its default.
    ///
    /// # Errors
    /// [`ErrorCode::BadPageSize`]
    pub fn of(query: &Query) -> Result<Self, ApiError> {
        Ok(Self { limit: limit(query)?, offset: number(query, "offset")?.unwrap_or(0) })
    }

    /// Reads a page of `sync_job`, where both numbers must be given (contract 4.2).
    ///
    /// # Errors
    /// [`ErrorCode::ParameterMissing`] or [`ErrorCode::BadPageSize`]
    pub fn mandatory(query: &Query) -> Result<Self, ApiError> {
        for key in ["limit", "offset"] {
            if query.get(key).is_none() {
                return Err(missing(&format!("{key} in filter")));
            }
        }
        Self::of(query)
    }

    /// Adds the two numbers of this page to a query.
    #[must_use]
    pub fn write(self, query: Query) -> Query {
        query.with("limit", &self.limit).with("offset", &self.offset)
    }

    /// The `Content-Range` of this page, which has `records` of the `total` records.
    pub fn range(self, records: usize, total: i64) -> ContentRange {
        ContentRange { offset: self.offset, records: i64::try_from(records).unwrap_or(i64::MAX), total }
    }
}

/// The value of `Content-Range`: `{offset}-{records}/{total}`. The second number is a count, not an end.
///
/// ```
/// use transship_swr::ContentRange;
///
/// let range: ContentRange = "20-10/57".parse()?;
/// assert_eq!((range.offset, range.records, range.total), (20, 10, 57));
/// assert_eq!(range.to_string(), "20-10/57");
/// # Ok::<(), transship_swr::ApiError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Records before the page.
    pub offset: i64,
    /// Records on the page.
    pub records: i64,
    /// Records of the whole list.
    pub total: i64,
}

impl fmt::Display for ContentRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}/{}", self.offset, self.records, self.total)
    }
}

impl FromStr for ContentRange {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let parts = text.split_once('-').and_then(|(offset, rest)| Some((offset, rest.split_once('/')?)));
        let read = |(offset, (records, total)): (&str, (&str, &str))| {
            Some(Self { offset: whole(offset)?, records: whole(records)?, total: whole(total)? })
        };
        parts.and_then(read).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            let message = format!("Content-Range is {shown:?}; expected offset-records/total");
            ApiError::new(ErrorCode::BadParameter, message)
        })
    }
}

/// Reads the page size of a list that is paged by marker.
///
/// # Errors
/// [`ErrorCode::BadPageSize`]
pub fn limit(query: &Query) -> Result<i64, ApiError> {
    match number(query, "limit")? {
        None => Ok(DEFAULT_LIMIT),
        Some(0) => Err(bad_number("limit", "0")),
        Some(limit) => Ok(limit.min(MAX_LIMIT)),
    }
}

fn number(query: &Query, key: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = query.get(key) else { return Ok(None) };
    whole(text).map(Some).ok_or_else(|| bad_number(key, text))
}

/// Parses a whole number from 0; only digits are allowed.
fn whole(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn bad_number(key: &str, text: &str) -> ApiError {
    let shown: String = text.chars().take(32).collect();
    let least = i32::from(key == "limit");
    ApiError::new(ErrorCode::BadPageSize, format!("{key} is {shown:?}; expected a whole number from {least}"))
}

/// Reads `order_column` and `order_type`, which must come together. Returns the column and whether the order is
/// descending. `columns` are pairs of a word and what it stands for.
///
/// # Errors
/// [`ErrorCode::BadOrder`]
pub fn order<T: Copy>(query: &Query, columns: &[(&str, T)], default: (T, bool)) -> Result<(T, bool), ApiError> {
    let bad = |message: String| ApiError::new(ErrorCode::BadOrder, message);
    match (query.get("order_column"), query.get("order_type")) {
        (None, None) => Ok(default),
        (Some(column), Some(direction)) => {
            let known = columns.iter().find(|(name, _)| *name == column).map(|(_, value)| *value);
            let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let shown: String = column.chars().take(60).collect();
            let column =
                known.ok_or_else(|| bad(format!("order_column is {shown:?}; expected one of {}", names.join(", "))))?;
            match direction {
                "asc" => Ok((column, false)),
                "desc" => Ok((column, true)),
                _ => Err(bad("order_type must be asc or desc".to_owned())),
            }
        }
        _ => Err(bad("order_column and order_type go together; give both or neither".to_owned())),
    }
}

#[cfg(test)]
mod tests;
