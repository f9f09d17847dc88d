//! The operations: method, path, status, the types of request and answer, and the error codes, as one table.
//!
//! Owns: what each operation looks like from outside. Never: what it does.

mod table;

use std::fmt;

use crate::error::ErrorCode;

pub use table::OperationId;

/// The methods that the API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// The method as it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A JSON document of a request or an answer. The names are those of the types in the module for the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A request: no body. An answer: `{}` at 200 and 201, nothing at 204 (contract 1.1).
    Nothing,
    /// One object of this type.
    Object(&'static str),
    /// A bare array of objects of this type.
    Array(&'static str),
    /// A bare array of strings.
    Strings,
}

/// The type of a query parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Flag,
}

/// A parameter of a query string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: ParameterKind,
    /// Whether a call without it is refused.
    pub is_required: bool,
}

impl Parameter {
    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }
}

const fn text(name: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Text, is_required: false }
}

const fn integer(name: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Integer, is_required: false }
}

const fn flag(name: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Flag, is_required: false }
}

/// One operation as it looks from outside.
///
/// ```
/// use transship_swr::OperationId;
///
/// let operation = OperationId::ShowNamespace.operation();
/// assert_eq!((operation.method.as_str(), operation.path), ("GET", "/v2/manage/namespaces/{namespace}"));
/// assert_eq!(operation.status, 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// The template of its path; a name in braces stands for a value.
    pub path: &'static str,
    /// The status of a successful response.
    pub status: u16,
    /// The parameters of its query string.
    pub query: &'static [Parameter],
    /// The body of a request.
    pub request: Body,
    /// The body of a successful response.
    pub response: Body,
    /// The headers of a successful response that belong to the operation.
    pub response_headers: &'static [&'static str],
    /// The codes that are particular to it; [`Operation::errors`] has all.
    particular_errors: &'static [ErrorCode],
    /// Whether a caller must prove who it is.
    pub needs_credentials: bool,
    /// Whether this server answers it. If not, a request is 404 4040083 (no such URL).
    pub is_built: bool,
}

impl Operation {
    const fn new(method: Method, path: &'static str, status: u16) -> Self {
        Self {
            method,
            path,
            status,
            query: &[],
            request: Body::Nothing,
            response: Body::Nothing,
            response_headers: &[],
            particular_errors: &[],
            needs_credentials: true,
            is_built: true,
        }
    }

    const fn get(path: &'static str, status: u16) -> Self {
        Self::new(Method::Get, path, status)
    }

    const fn post(path: &'static str, status: u16) -> Self {
        Self::new(Method::Post, path, status)
    }

    const fn patch(path: &'static str, status: u16) -> Self {
        Self::new(Method::Patch, path, status)
    }

    const fn delete(path: &'static str, status: u16) -> Self {
        Self::new(Method::Delete, path, status)
    }

    const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    const fn takes(self, request: Body) -> Self {
        Self { request, ..self }
    }

    const fn returns(self, response: Body) -> Self {
        Self { response, ..self }
    }

    const fn with_headers(self, response_headers: &'static [&'static str]) -> Self {
        Self { response_headers, ..self }
    }

    const fn refuses(self, particular_errors: &'static [ErrorCode]) -> Self {
        Self { particular_errors, ..self }
    }

    const fn without_credentials(self) -> Self {
        Self { needs_credentials: false, ..self }
    }

    const fn not_built(self) -> Self {
        Self { is_built: false, ..self }
    }

    /// Returns the codes with which it may be refused: those of its credentials, its path, its query and its body, and
    /// those that are particular to it.
    pub fn errors(&self) -> Vec<ErrorCode> {
        use ErrorCode as E;
        let mut errors = Vec::new();
        if self.needs_credentials {
            errors.extend([E::Unauthenticated, E::BadSignature, E::Forbidden, E::BadParameter, E::Busy]);
        }
        if self.has_path_value("namespace") {
            errors.extend([E::BadNamespace, E::NamespaceAbsent]);
        }
        if self.has_path_value("repository") {
            errors.extend([E::BadRepository, E::RepositoryAbsent]);
        }
        if self.has_path_value("tag") {
            errors.extend([E::BadTag, E::TagAbsent]);
        }
        if !self.query.is_empty() {
            errors.push(E::BadQuery);
        }
        let by_query = [("filter", E::BadFilter), ("limit", E::BadPageSize), ("order_column", E::BadOrder)];
        errors.extend(by_query.iter().filter(|(name, _)| self.has_query(name)).map(|(_, code)| *code));
        if self.request != Body::Nothing {
            errors.extend([E::BodyNotJson, E::ParameterMissing, E::BodyTooLarge]);
        }
        errors.extend(self.particular_errors);
        errors.push(E::Internal);
        errors.sort_by_key(|code| code.as_str());
        errors.dedup();
        errors
    }

    /// The names of the values in its path, from left to right.
    pub fn path_values(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(value_name)
    }

    fn has_path_value(&self, name: &str) -> bool {
        self.path_values().any(|value| value == name)
    }

    fn has_query(&self, name: &str) -> bool {
        self.query.iter().any(|parameter| parameter.name == name)
    }
}

/// The name in a segment `{name}` of a template; `None` for a fixed word.
pub(crate) fn value_name(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

impl fmt::Display for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
