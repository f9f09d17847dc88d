//! From a request to its operation, and from an operation to the path of a request.
//!
//! Each segment is percent-decoded once, after the path was split. In the name of a repository `$` stands for `/`, and
//! raw extra segments count as part of the name if that is unambiguous (contract 1.2). Reading a path does not check
//! the names in it: a server does that later, when the caller is known.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use transship_oci::{NamespaceName, RepositoryName, RepositoryPath, Tag};

use crate::error::{ApiError, ErrorCode};
use crate::operation::{Operation, OperationId, value_name};

/// The name of the only value that may have several segments.
const REPOSITORY: &str = "repository";
/// The characters to encode: all but `A-Z a-z 0-9 - _ . ~`, as the SDKs do.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The values that a path has for the names in its template, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathValues {
    values: Vec<(&'static str, String)>,
}

impl PathValues {
    /// Returns a value; empty if the template does not have that name.
    pub fn get(&self, name: &str) -> &str {
        self.values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The organization, if its name follows the grammar.
    ///
    /// # Errors
    /// [`ErrorCode::BadNamespace`]
    pub fn namespace(&self) -> Result<NamespaceName, ApiError> {
        parse_namespace(self.get("namespace"))
    }

    /// The repository with its organization, if both names follow the grammar.
    ///
    /// # Errors
    /// [`ErrorCode::BadNamespace`] or [`ErrorCode::BadRepository`]
    pub fn repository(&self) -> Result<RepositoryName, ApiError> {
        parse_repository(self.get("namespace"), self.get(REPOSITORY))
    }

    /// The tag, if it follows the grammar.
    ///
    /// # Errors
    /// [`ErrorCode::BadTag`]
    pub fn tag(&self) -> Result<Tag, ApiError> {
        parse_tag(self.get("tag"))
    }
}

/// Reads the name of an organization.
///
/// # Errors
/// [`ErrorCode::BadNamespace`]
pub fn parse_namespace(text: &str) -> Result<NamespaceName, ApiError> {
    text.parse().map_err(|error: transship_oci::GrammarError| ApiError::new(ErrorCode::BadNamespace, error.to_string()))
}

/// Parses the name of a repository from its organization and its path, in which `/` separates the parts.
///
/// # Errors
/// [`ErrorCode::BadNamespace`] or [`ErrorCode::BadRepository`]
pub fn parse_repository(namespace: &str, repository: &str) -> Result<RepositoryName, ApiError> {
    let namespace = parse_namespace(namespace)?;
    let repository: RepositoryPath = repository
        .parse()
        .map_err(|error: transship_oci::GrammarError| ApiError::new(ErrorCode::BadRepository, error.to_string()))?;
    Ok(RepositoryName::new(namespace, repository))
}

/// Reads a tag.
///
/// # Errors
/// [`ErrorCode::BadTag`]
pub fn parse_tag(text: &str) -> Result<Tag, ApiError> {
    text.parse().map_err(|error: transship_oci::GrammarError| ApiError::new(ErrorCode::BadTag, error.to_string()))
}

/// Finds the operation of a request among those that are built; `None` if the path or the method is not served.
///
/// ```
/// use transship_swr::{OperationId, route};
///
/// let (id, at) = route::find("GET", "/v2/manage/namespaces/group/repos/team%24app/tags/v1").expect("it is served");
/// assert_eq!(id, OperationId::ShowRepoTag);
/// assert_eq!(at.repository()?.to_string(), "group/team/app");
/// assert_eq!(at.tag()?.as_str(), "v1");
/// # Ok::<(), transship_swr::ApiError>(())
/// ```
pub fn find(method: &str, raw_path: &str) -> Option<(OperationId, PathValues)> {
    let decoded: Vec<Cow<'_, str>> =
        raw_path.strip_prefix('/')?.split('/').map(|raw| percent_decode_str(raw).decode_utf8_lossy()).collect();
    let path: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    let readings = readings(&path);
    let mut found: Vec<&Reading> = readings
        .iter()
        .filter(|reading| reading.operation().is_built && reading.operation().method.as_str() == method)
        .collect();
    // Only one reading may remain, so that nobody reaches a resource by mistake. A name in a single segment is
    // unambiguous, even if its tag is called `access`.
    let in_doubt = found.len() > 1 || readings.iter().any(|reading| !reading.operation().is_built);
    if in_doubt {
        found.retain(|reading| reading.repository_segments <= 1);
    }
    let reading = found.into_iter().min_by_key(|reading| reading.generality())?;
    Some((reading.id, reading.values(&path)))
}

/// One way to read a path: an operation whose template fits, and the number of segments in the repository's name.
struct Reading {
    id: OperationId,
    template: Vec<&'static str>,
    repository_segments: usize,
}

impl Reading {
    fn of(id: OperationId, path: &[&str]) -> Option<Self> {
        // Most templates differ before the repository's name, which is cheap to check.
        let mut before =
            segments(id.operation()).take_while(|segment| value_name(segment) != Some(REPOSITORY)).zip(path);
        if before.any(|(segment, piece)| value_name(segment).is_none() && segment != *piece) {
            return None;
        }
        let template: Vec<&'static str> = segments(id.operation()).collect();
        let repository_segments = if template.iter().any(|segment| value_name(segment) == Some(REPOSITORY)) {
            (path.len() + 1).checked_sub(template.len()).filter(|number| *number > 0)?
        } else {
            (path.len() == template.len()).then_some(1)?
        };
        let reading = Self { id, template, repository_segments };
        let fits = reading.pieces(path).all(|(segment, piece)| value_name(segment).is_some() || piece == [segment]);
        fits.then_some(reading)
    }

    fn operation(&self) -> &'static Operation {
        self.id.operation()
    }

    /// Pairs each segment of the template with the part of the path that it stands for.
    fn pieces<'p, 'a>(&self, path: &'p [&'a str]) -> impl Iterator<Item = (&'static str, &'p [&'a str])> {
        let mut rest = path;
        self.template.iter().map(move |segment| {
            let taken = if value_name(segment) == Some(REPOSITORY) { self.repository_segments } else { 1 };
            let (piece, after) = rest.split_at(taken.min(rest.len()));
            rest = after;
            (*segment, piece)
        })
    }

    fn values(&self, path: &[&str]) -> PathValues {
        let value = |(segment, piece): (&'static str, &[&str])| {
            let name = value_name(segment)?;
            let text = piece.join("/");
            Some((name, if name == REPOSITORY { text.replace('$', "/") } else { text }))
        };
        PathValues { values: self.pieces(path).filter_map(value).collect() }
    }

    /// Whether each segment of the template is a value, from left to right: a fixed word sorts before a value.
    fn generality(&self) -> Vec<bool> {
        self.template.iter().map(|segment| value_name(segment).is_some()).collect()
    }

    /// Whether the template ends with the repository, so that its name could be anything.
    fn is_repository_itself(&self) -> bool {
        self.template.last().is_some_and(|segment| value_name(segment) == Some(REPOSITORY))
    }
}

/// Every reading of a path, whatever the method.
///
/// A known ending is never part of a repository's name. Otherwise a mistake in a call about the tags of `app` could
/// delete a repository `app/tags`; a path names such a repository with `$`. If one template is a special case of
/// another, like `/retentions/histories`, only the special case is a reading.
fn readings(path: &[&str]) -> Vec<Reading> {
    let mut readings: Vec<Reading> = OperationId::ALL.iter().filter_map(|id| Reading::of(*id, path)).collect();
    if readings.iter().any(|reading| !reading.is_repository_itself()) {
        readings.retain(|reading| !reading.is_repository_itself());
    }
    let templates: Vec<Vec<&'static str>> = readings.iter().map(|reading| reading.template.clone()).collect();
    readings.retain(|reading| !templates.iter().any(|other| is_special_case(other, &reading.template)));
    readings
}

/// Whether `special` is `general` with fixed words in place of values.
fn is_special_case(special: &[&'static str], general: &[&'static str]) -> bool {
    special.len() == general.len()
        && special != general
        && special.iter().zip(general).all(|(word, other)| word == other || value_name(other).is_some())
        && special.iter().zip(general).any(|(word, other)| value_name(word).is_none() && value_name(other).is_some())
}

fn segments(operation: &'static Operation) -> impl Iterator<Item = &'static str> {
    operation.path.trim_start_matches('/').split('/')
}

/// Writes the path of a request as it goes over the wire: a `/` in a repository's name becomes `%24`, the encoded `$`
/// (contract 1.2).
///
/// ```
/// use transship_swr::{OperationId, route};
///
/// let path = route::path(OperationId::ShowRepository, &[("namespace", "group"), ("repository", "team/app")]);
/// assert_eq!(path, "/v2/manage/namespaces/group/repos/team%24app");
/// ```
///
/// # Panics
/// If the template has a name without a value: that is a mistake in the calling code, not in its data.
pub fn path(id: OperationId, values: &[(&str, &str)]) -> String {
    let mut path = String::new();
    for segment in segments(id.operation()) {
        path.push('/');
        let Some(name) = value_name(segment) else {
            path.push_str(segment);
            continue;
        };
        let known = values.iter().find(|(key, _)| *key == name);
        let (_, value) = known.unwrap_or_else(|| panic!("the path of {id} needs {name}"));
        let value = if name == REPOSITORY { Cow::Owned(value.replace('/', "$")) } else { Cow::Borrowed(*value) };
        path.extend(utf8_percent_encode(&value, RESERVED));
    }
    path
}

#[cfg(test)]
mod tests;
