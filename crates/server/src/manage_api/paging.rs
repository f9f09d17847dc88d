//! Pages: `limit` and `offset`, `marker`, and `Content-Range` (contract 1.3).

use ::http::{HeaderName, HeaderValue};
use axum::response::Response;
use serde::Serialize;
use transship_registry::Room;

use super::query::Query;
use crate::http::manage_error::{ManageCode, ManageError};
use crate::http::pieces;

/// Records on a page when nothing is said.
const DEFAULT_LIMIT: i64 = 100;
/// The largest page; larger wishes are cut to it.
const MAX_LIMIT: i64 = 1000;

const CONTENT_RANGE: HeaderName = HeaderName::from_static("content-range");

/// A page by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: i64,
    pub(super) offset: i64,
}

impl Page {
    /// When only one of the two is given, the other has its default.
    pub(super) fn of(query: &Query) -> Result<Self, ManageError> {
        Ok(Self { limit: limit(query)?, offset: number(query, "offset")?.unwrap_or(0) })
    }

    /// Both must be given (`sync_job`, contract 4.2).
    pub(super) fn mandatory(query: &Query) -> Result<Self, ManageError> {
        for key in ["limit", "offset"] {
            if query.get(key).is_none() {
                return Err(super::fields::missing(&format!("{key} in filter")));
            }
        }
        Self::of(query)
    }

    /// A bare array with its `Content-Range`: offset, number of records here, total. It holds `room` until it is sent.
    pub(super) fn answer_large<T: Serialize>(self, records: &[T], total: i64, room: Room) -> Response {
        let mut response = pieces::json(&records, room);
        let range = format!("{}-{}/{total}", self.offset, records.len());
        if let Ok(value) = HeaderValue::try_from(range) {
            response.headers_mut().insert(CONTENT_RANGE, value);
        }
        response
    }
}

/// The page size of a list by marker.
pub(super) fn limit(query: &Query) -> Result<i64, ManageError> {
    match number(query, "limit")? {
        None => Ok(DEFAULT_LIMIT),
        Some(0) => Err(bad_number("limit", "0")),
        Some(limit) => Ok(limit.min(MAX_LIMIT)),
    }
}

fn number(query: &Query, key: &str) -> Result<Option<i64>, ManageError> {
    let Some(text) = query.get(key) else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(number) if digits => Ok(Some(number)),
        _ => Err(bad_number(key, text)),
    }
}

fn bad_number(key: &str, text: &str) -> ManageError {
    let shown: String = text.chars().take(32).collect();
    let least = i32::from(key == "limit");
    ManageError::new(ManageCode::BadPageSize, format!("{key} is {shown:?}; expected a whole number from {least}"))
}

/// `order_column` and `order_type`, both or neither. The columns are pairs of a word and what it stands for.
pub(super) fn order<T: Copy>(
    query: &Query,
    columns: &[(&str, T)],
    default: (T, bool),
) -> Result<(T, bool), ManageError> {
    let bad = |message: String| ManageError::new(ManageCode::BadOrder, message);
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
