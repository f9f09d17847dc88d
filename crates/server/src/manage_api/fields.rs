//! The fields of a JSON body, with the contract's code for each way in which one can be wrong.
//!
//! Missing or empty is 4001014, another type 4000014 (contract 3.5). Fields nobody asks for are ignored.

use serde_json::{Map, Value};
use transship_registry::GrantSpec;
use transship_swr::ErrorCode;

use super::error::ManageError;
use super::json;

/// A body that is a JSON object.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ManageError> {
        match json::parse(body)? {
            Value::Object(map) => Ok(Self(map)),
            other => Err(wrong_type("the body", &other, "an object")),
        }
    }

    /// A field that is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, ManageError> {
        match self.get(key) {
            None => Err(missing(key)),
            Some(Value::String(text)) if text.is_empty() => Err(missing(key)),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong_type(key, other, "a string")),
        }
    }

    pub(super) fn optional_text(&self, key: &str) -> Result<Option<&str>, ManageError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(key, other, "a string")),
        }
    }

    pub(super) fn optional_bool(&self, key: &str) -> Result<Option<bool>, ManageError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(key, other, "true or false")),
        }
    }

    /// `is_public`, which has a code of its own (contract 5.3).
    pub(super) fn is_public(&self) -> Result<bool, ManageError> {
        match self.get("is_public") {
            Some(Value::Bool(value)) => Ok(*value),
            other => {
                let shown = other.map_or_else(|| "missing".to_owned(), brief);
                let message = format!("is_public is {shown}; it must be true or false");
                Err(ManageError::new(ErrorCode::BadIsPublic, message))
            }
        }
    }

    /// A list of texts with at least one element.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, ManageError> {
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

/// The body of a grant: an array of `{user_id, user_name, auth}` (contract 5.2).
pub(super) fn grants(body: &[u8]) -> Result<Vec<GrantSpec>, ManageError> {
    let elements = match json::parse(body)? {
        Value::Array(elements) if elements.is_empty() => return Err(missing("the list of permissions")),
        Value::Array(elements) => elements,
        other => return Err(wrong_type("the body", &other, "an array of permissions")),
    };
    elements
        .into_iter()
        .map(|element| {
            let Value::Object(map) = element else { return Err(wrong_type("a permission", &element, "an object")) };
            let fields = Fields(map);
            let level = match fields.get("auth") {
                None => return Err(missing("auth")),
                Some(value) => value.as_i64().ok_or_else(|| {
                    let message = format!("auth is {}; expected 7 (manage), 3 (write) or 1 (read)", brief(value));
                    ManageError::new(ErrorCode::BadNamespacePermission, message)
                })?,
            };
            Ok(GrantSpec {
                user_id: user_id(fields.text("user_id")?.to_owned())?,
                user_name: fields.optional_text("user_name")?.unwrap_or_default().to_owned(),
                level,
            })
        })
        .collect()
}

/// The body of a withdrawal: an array of user ids. None at all is 4001014 (contract 1.1).
pub(super) fn user_ids(body: &[u8]) -> Result<Vec<String>, ManageError> {
    if body.is_empty() {
        return Err(missing("the list of user ids"));
    }
    let elements = match json::parse(body)? {
        Value::Array(elements) if elements.is_empty() => return Err(missing("the list of user ids")),
        Value::Array(elements) => elements,
        other => return Err(wrong_type("the body", &other, "an array of user ids")),
    };
    elements
        .into_iter()
        .map(|element| match element {
            Value::String(id) => user_id(id),
            other => Err(wrong_type("a user id", &other, "a string")),
        })
        .collect()
}

/// Nobody has an id with a NUL, and PostgreSQL cannot even be asked for one.
fn user_id(id: String) -> Result<String, ManageError> {
    if id.contains('\0') {
        let message = format!("user_id is {}; expected the id of a user", brief(&Value::String(id)));
        return Err(ManageError::new(ErrorCode::BadUser, message));
    }
    Ok(id)
}

pub(super) fn missing(key: &str) -> ManageError {
    ManageError::new(ErrorCode::ParameterMissing, format!("{key} is missing or empty; it is mandatory"))
}

fn wrong_type(what: &str, value: &Value, expected: &str) -> ManageError {
    ManageError::new(ErrorCode::BadParameter, format!("{what} is {}; expected {expected}", brief(value)))
}

/// A value as an error shows it: enough to recognise it.
fn brief(value: &Value) -> String {
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
