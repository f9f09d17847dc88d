//! The fields of a JSON body, with the contract's code for each way in which a field can be wrong.
//!
//! A missing or empty field is 4001014, a wrong type is 4000014 (contract 3.5). Unknown fields are ignored.

use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorCode};
use crate::json;
use crate::query::missing;

/// A body that is a JSON object.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match json::parse(body)? {
            Value::Object(map) => Ok(Self(map)),
            other => Err(wrong_type("the body", &other, "an object")),
        }
    }

    /// Returns a field that is present and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str, ApiError> {
        match self.get(key) {
            None => Err(missing(key)),
            Some(Value::String(text)) if text.is_empty() => Err(missing(key)),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong_type(key, other, "a string")),
        }
    }

    pub(crate) fn optional_text(&self, key: &str) -> Result<Option<&str>, ApiError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(key, other, "a string")),
        }
    }

    pub(crate) fn optional_bool(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(key, other, "true or false")),
        }
    }

    /// `is_public`, which has a code of its own (contract 5.3).
    pub(crate) fn is_public(&self) -> Result<bool, ApiError> {
        match self.get("is_public") {
            Some(Value::Bool(value)) => Ok(*value),
            other => {
                let shown = other.map_or_else(|| "missing".to_owned(), brief);
                let message = format!("is_public is {shown}; it must be true or false");
                Err(ApiError::new(ErrorCode::BadIsPublic, message))
            }
        }
    }

    /// A list of texts with at least one element.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&str>, ApiError> {
        let elements = match self.get(key) {
            None => return Err(missing(key)),
            Some(Value::Array(elements)) if elements.is_empty() => return Err(missing(key)),
            Some(Value::Array(elements)) => elements,
            Some(other) => return Err(wrong_type(key, other, "an array of strings")),
        };
        elements
            .iter()
            .map(|element| element.as_str().ok_or_else(|| wrong_type(key, element, "strings as its elements")))
            .collect()
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

/// Returns the elements of a body that is a non-empty array. `what` and `expected` are for the error message.
pub(crate) fn elements(body: &[u8], what: &str, expected: &str) -> Result<Vec<Value>, ApiError> {
    match json::parse(body)? {
        Value::Array(elements) if elements.is_empty() => Err(missing(what)),
        Value::Array(elements) => Ok(elements),
        other => Err(wrong_type("the body", &other, expected)),
    }
}

pub(crate) fn wrong_type(what: &str, value: &Value, expected: &str) -> ApiError {
    ApiError::new(ErrorCode::BadParameter, format!("{what} is {}; expected {expected}", brief(value)))
}

/// Shortens a value for an error message to what is enough to recognise it.
pub(crate) fn brief(value: &Value) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    let head: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests;
