//! Query parameters and the filter language (contract 1.3).

use transship_swr::ErrorCode;

use super::error::ManageError;

/// Most pairs of a filter that are looked at.
const MAX_PAIRS: usize = 64;

/// The parameters of a call, decoded.
#[derive(Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes a query string. A NUL is refused: one of the two databases cannot hold it, so nothing can match it.
    pub(super) fn parse(raw: &str) -> Result<Self, ManageError> {
        let pairs = crate::http::query::pairs(raw);
        if let Some((key, value)) = pairs.iter().find(|(_, value)| value.contains('\0')) {
            return Err(bad_query(key, value, "text without NUL characters"));
        }
        Ok(Self { pairs })
    }

    /// A parameter; one without a value counts as left out, since the Go SDK sends empty ones (contract 1.3).
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The parameters that count: those of `filter` when there is one, otherwise the plain ones.
    pub(super) fn effective(&self) -> Result<Self, ManageError> {
        match self.get("filter") {
            None => Ok(Self { pairs: self.pairs.clone() }),
            Some(filter) => parse_filter(filter),
        }
    }

    /// The pairs of `filter`, which must be there.
    pub(super) fn mandatory_filter(&self) -> Result<Self, ManageError> {
        self.get("filter").map_or_else(|| Err(super::fields::missing("filter")), parse_filter)
    }

    /// A parameter that is true or false, in any case: Python writes `True`.
    pub(super) fn flag(&self, key: &'static str) -> Result<Option<bool>, ManageError> {
        match self.get(key) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(bad_query(key, other, "true or false")),
        }
    }
}

/// `key::value|key::value`.
fn parse_filter(text: &str) -> Result<Query, ManageError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in text.split('|').filter(|part| !part.is_empty()).take(MAX_PAIRS) {
        let Some((key, value)) = part.split_once("::").filter(|(key, _)| !key.is_empty()) else {
            let shown: String = part.chars().take(60).collect();
            let message = format!("filter holds {shown:?}; expected key::value pairs joined with |");
            return Err(ManageError::new(ErrorCode::BadFilter, message));
        };
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(Query { pairs })
}

pub(super) fn bad_query(key: &str, value: &str, expected: &str) -> ManageError {
    let shown: String = value.chars().take(60).collect();
    ManageError::new(ErrorCode::BadQuery, format!("{key} is {shown:?}; expected {expected}"))
}

#[cfg(test)]
mod tests;
