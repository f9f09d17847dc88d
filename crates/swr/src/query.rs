//! The parameters of a query string and the filter language (contract 1.3), to read and to write.
//!
//! Owns: `key=value&…` and `filter=key::value|…`. Never: which parameters an operation has.

use std::fmt;

use crate::error::{ApiError, ErrorCode};

/// Maximum number of pairs of a filter that are read; the rest is ignored.
const MAX_PAIRS: usize = 64;
/// Maximum number of characters of a value that an error shows.
const SHOWN_CHARS: usize = 60;
/// Separates the pairs of a filter.
const PAIR_END: char = '|';
/// Separates the key and the value of a pair.
const VALUE_START: &str = "::";

/// The parameters of a call, decoded.
///
/// ```
/// use transship_swr::{Page, Query};
///
/// // A client writes what a server reads.
/// let page = Page { limit: 10, offset: 20 };
/// let asked = page.write(Query::default()).with("order", "desc").into_filter()?;
/// assert_eq!(asked.to_string(), "filter=limit%3A%3A10%7Coffset%3A%3A20%7Corder%3A%3Adesc");
/// let read = Query::parse(&asked.to_string())?.mandatory_filter()?;
/// assert_eq!(Page::mandatory(&read)?, page);
/// assert_eq!(read.get("order"), Some("desc"));
/// # Ok::<(), transship_swr::ApiError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes a query string. A NUL is refused: one of the two databases cannot hold it, so nothing can match it.
    ///
    /// # Errors
    /// [`ErrorCode::BadQuery`]
    pub fn parse(raw: &str) -> Result<Self, ApiError> {
        let pairs = transship_oci::query::pairs(raw);
        if let Some((key, value)) = pairs.iter().find(|(_, value)| value.contains('\0')) {
            return Err(bad_query(key, value, "text without NUL characters"));
        }
        Ok(Self { pairs })
    }

    /// The same parameters and one more.
    #[must_use]
    pub fn with(mut self, key: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.pairs.push((key.to_owned(), value.to_string()));
        self
    }

    /// The same parameters and the order of a list; the columns are those of contract 1.3.
    #[must_use]
    pub fn ordered_by(self, column: &str, descending: bool) -> Self {
        self.with("order_column", column).with("order_type", if descending { "desc" } else { "asc" })
    }

    /// Returns a parameter. One without a value counts as left out, because the Go SDK sends empty ones (contract 1.3).
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns the parameters that count: those of `filter` if there is one, otherwise the plain ones.
    ///
    /// # Errors
    /// [`ErrorCode::BadFilter`]
    pub fn effective(&self) -> Result<Self, ApiError> {
        match self.get("filter") {
            None => Ok(self.clone()),
            Some(filter) => parse_filter(filter),
        }
    }

    /// Returns the pairs of `filter`, which is mandatory.
    ///
    /// # Errors
    /// [`ErrorCode::ParameterMissing`] or [`ErrorCode::BadFilter`]
    pub fn mandatory_filter(&self) -> Result<Self, ApiError> {
        self.get("filter").map_or_else(|| Err(missing("filter")), parse_filter)
    }

    /// A parameter that is true or false, in any case: Python writes `True`.
    ///
    /// # Errors
    /// [`ErrorCode::BadQuery`]
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.get(key) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(bad_query(key, other, "true or false")),
        }
    }

    /// Packs all parameters into the one parameter `filter`.
    ///
    /// # Errors
    /// [`ErrorCode::BadFilter`] if the filter language cannot express a pair: it has no way to quote.
    pub fn into_filter(self) -> Result<Self, ApiError> {
        let mut filter = String::new();
        for (key, value) in self.pairs {
            if key.is_empty() || key.contains(VALUE_START) || key.contains(PAIR_END) || value.contains(PAIR_END) {
                let message = format!("a filter cannot say that {key:?} is {value:?}: the two hold its separators");
                return Err(ApiError::new(ErrorCode::BadFilter, message));
            }
            if !filter.is_empty() {
                filter.push(PAIR_END);
            }
            filter.extend([key.as_str(), VALUE_START, value.as_str()]);
        }
        Ok(Self::default().with("filter", &filter))
    }
}

impl fmt::Display for Query {
    /// The query string, without the question mark.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&transship_oci::query::write(&self.pairs))
    }
}

/// Parses `key::value|key::value`.
fn parse_filter(text: &str) -> Result<Query, ApiError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in text.split(PAIR_END).filter(|part| !part.is_empty()).take(MAX_PAIRS) {
        let Some((key, value)) = part.split_once(VALUE_START).filter(|(key, _)| !key.is_empty()) else {
            let shown: String = part.chars().take(SHOWN_CHARS).collect();
            let message = format!("filter holds {shown:?}; expected key::value pairs joined with |");
            return Err(ApiError::new(ErrorCode::BadFilter, message));
        };
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(Query { pairs })
}

/// The error for a parameter whose value is none of the expected ones.
pub fn bad_query(key: &str, value: &str, expected: &str) -> ApiError {
    let shown: String = value.chars().take(SHOWN_CHARS).collect();
    ApiError::new(ErrorCode::BadQuery, format!("{key} is {shown:?}; expected {expected}"))
}

/// The error for a mandatory parameter or field that is absent or empty.
pub(crate) fn missing(key: &str) -> ApiError {
    ApiError::new(ErrorCode::ParameterMissing, format!("{key} is missing or empty; it is mandatory"))
}

#[cfg(test)]
mod tests;
