//! Query parameters of the registry protocol: decoded, in order, repeated ones kept.

use transship_oci::ErrorCode;

use super::error::OciError;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        Self { parameters: transship_oci::query::pairs(raw) }
    }

    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn first(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that may occur once.
    pub(super) fn once(&self, key: &str, code: ErrorCode) -> Result<Option<&str>, OciError> {
        let mut values = self.parameters.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(OciError::bad(code, format!("query parameter {key} stands there twice; give it once")));
        }
        Ok(first)
    }

    /// Returns the page size `n`, at most `most`.
    pub(super) fn page_size(&self, most: usize) -> Result<usize, OciError> {
        match self.once("n", ErrorCode::Unsupported)? {
            None => Ok(most),
            Some(text) if !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(text.parse::<usize>().unwrap_or(most).min(most))
            }
            Some(text) => {
                let shown: String = text.chars().take(32).collect();
                Err(OciError::bad(
                    ErrorCode::Unsupported,
                    format!("n is {shown:?}; expected a number of entries, 0 or more"),
                ))
            }
        }
    }
}
