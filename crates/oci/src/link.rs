//! The `Link` header that leads from one page of a list to the next.
//!
//! Owns its text. The target of a page is a path with a query; the client decides whether it follows a link to another
//! host.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::text::GrammarError;

/// Query values are encoded except for letters, digits and the characters that never need encoding.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A link to the next page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    target: String,
}

impl Link {
    /// Links to this path with these query parameters. Values are encoded; names are not, because they are ours.
    pub fn next(path: &str, parameters: &[(&str, &str)]) -> Link {
        let mut target = path.to_owned();
        for (position, (name, value)) in parameters.iter().enumerate() {
            target.push(if position == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            target.extend(utf8_percent_encode(value, QUERY_VALUE));
        }
        Link { target }
    }

    /// The address of the next page: a URL, possibly without host or path.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Display for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{}>; rel=\"next\"", self.target)
    }
}

impl FromStr for Link {
    type Err = GrammarError;

    /// Returns the first link in the header that leads to the next page.
    fn from_str(header: &str) -> Result<Self, GrammarError> {
        find_next(header).ok_or_else(|| GrammarError::new("link", header, "\"<target>; rel=next\""))
    }
}

fn find_next(header: &str) -> Option<Link> {
    let mut rest = header;
    loop {
        // A target may hold commas and semicolons; its parameters never do here.
        let (target, after) = rest.trim_start_matches([' ', '\t', ',']).strip_prefix('<')?.split_once('>')?;
        let (parameters, others) = after.split_once(',').unwrap_or((after, ""));
        if parameters.split(';').any(is_rel_next) && target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(Link { target: target.to_owned() });
        }
        rest = others;
    }
}

fn is_rel_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
}

#[cfg(test)]
mod tests;
