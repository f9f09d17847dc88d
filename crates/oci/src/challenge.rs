//! The Bearer challenge: how a registry tells a client where to get a token, and for what.
//!
//! Owns the text of a `WWW-Authenticate` header. The client decides whether it trusts the realm.

use std::fmt;
use std::str::FromStr;

use crate::text::GrammarError;

/// Value of [`Challenge::error`]: the token is not valid for any request.
pub const INVALID_TOKEN: &str = "invalid_token";
/// Value of [`Challenge::error`]: the token is valid, but does not cover this request.
pub const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// A Bearer challenge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Challenge {
    /// The URL of the token endpoint.
    pub realm: String,
    /// The service that the token is for; empty if the registry does not name one.
    pub service: String,
    /// The scopes that the request needs, separated by spaces.
    pub scope: Option<String>,
    /// The problem with the token that was sent.
    pub error: Option<String>,
}

impl fmt::Display for Challenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bearer realm={},service={}", quoted(&self.realm), quoted(&self.service))?;
        if let Some(scope) = &self.scope {
            write!(formatter, ",scope={}", quoted(scope))?;
        }
        if let Some(error) = &self.error {
            write!(formatter, ",error={}", quoted(error))?;
        }
        Ok(())
    }
}

/// Returns the text as a quoted string, without the characters that a header cannot hold: no value can end the header.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars().filter(|char| is_quotable(*char)) {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

fn is_quotable(char: char) -> bool {
    char == '\t' || matches!(char, ' '..='~')
}

impl FromStr for Challenge {
    type Err = GrammarError;

    /// Returns the first Bearer challenge in the header that has a realm.
    fn from_str(header: &str) -> Result<Self, GrammarError> {
        let invalid = || GrammarError::new("challenge", header, "a Bearer challenge with a realm");
        let challenges = parse_challenges(header).ok_or_else(invalid)?;
        challenges
            .iter()
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))
            .find_map(from_parameters)
            .ok_or_else(invalid)
    }
}

fn from_parameters(challenge: &RawChallenge<'_>) -> Option<Challenge> {
    Some(Challenge {
        realm: challenge.parameter("realm")?,
        service: challenge.parameter("service").unwrap_or_default(),
        scope: challenge.parameter("scope"),
        error: challenge.parameter("error"),
    })
}

/// A challenge of any scheme.
struct RawChallenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

impl RawChallenge<'_> {
    /// The first parameter of this name.
    fn parameter(&self, name: &str) -> Option<String> {
        let (_, value) = self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value.clone())
    }
}

/// Reads a list of challenges. Commas separate both challenges and their parameters, so an element is a scheme, a
/// scheme with its first parameter, or another parameter of the preceding challenge.
fn parse_challenges(header: &str) -> Option<Vec<RawChallenge<'_>>> {
    let mut challenges: Vec<RawChallenge<'_>> = Vec::new();
    let mut rest = trim(header);
    while !rest.is_empty() {
        let (mut word, mut after) = split_token(rest)?;
        if after.starts_with('=') {
            // A challenge without a first parameter cannot have another.
            challenges.last().filter(|challenge| !challenge.parameters.is_empty())?;
        } else {
            challenges.push(RawChallenge { scheme: word, parameters: Vec::new() });
            if is_end_of_element(after) {
                rest = next_element(after)?;
                continue;
            }
            (word, after) = split_token(trim(after.strip_prefix(' ')?))?;
        }
        let (value, after) = split_value(after.strip_prefix('=')?)?;
        challenges.last_mut()?.parameters.push((word, value));
        rest = next_element(after)?;
    }
    Some(challenges)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_end_of_element(rest: &str) -> bool {
    matches!(trim(rest).chars().next(), None | Some(','))
}

/// Returns the text after the comma, or the empty text at the end of the header.
fn next_element(rest: &str) -> Option<&str> {
    let rest = trim(rest);
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(',').map(trim).filter(|next| !next.is_empty()) }
}

fn split_token(text: &str) -> Option<(&str, &str)> {
    let is_token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    let end = text.find(|char| !is_token(char)).unwrap_or(text.len());
    if end == 0 { None } else { Some(text.split_at(end)) }
}

/// Splits off a token or a quoted string; returns it with the rest of the text.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return split_token(text).map(|(token, rest)| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next().filter(|char| is_quotable(*char))?),
            char if is_quotable(char) => value.push(char),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
