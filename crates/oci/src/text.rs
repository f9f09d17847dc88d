//! Shared by all checked texts: the error that names the invalid value, and the macro for types that wrap valid text.

/// How much of a refused value an error repeats: enough to recognise it, too little to fill a log.
const EXCERPT_CHARS: usize = 100;

/// A text that does not follow the grammar of its kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid {what} \"{value}\": expected {expected}")]
pub struct GrammarError {
    what: &'static str,
    value: String,
    expected: &'static str,
}

impl GrammarError {
    pub(crate) fn new(what: &'static str, value: &str, expected: &'static str) -> Self {
        Self { what, value: excerpt(value), expected }
    }

    /// The kind of text that was expected, such as "tag".
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The refused value, cut to a readable length and with control characters escaped.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The rule that the value breaks, in words.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

/// Returns the beginning of an untrusted text on one line, with unprintable characters escaped.
pub(crate) fn excerpt(value: &str) -> String {
    let mut short = String::new();
    for char in value.chars().take(EXCERPT_CHARS) {
        match char {
            '"' | '\'' => short.push(char),
            _ => short.extend(char.escape_debug()),
        }
    }
    if value.chars().nth(EXCERPT_CHARS).is_some() {
        short.push('…');
    }
    short
}

/// Defines a type that wraps text of one grammar, with parsing, display, comparison and serialisation; a value cannot
/// be made without the check.
macro_rules! checked_text {
    ($(#[$attribute:meta])* $name:ident, $what:literal, $is_valid:path, $expected:literal) => {
        $(#[$attribute])*
        #[derive(Clone, Eq, Ord, PartialEq, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::text::GrammarError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                if $is_valid(&text) {
                    Ok(Self(text))
                } else {
                    Err($crate::text::GrammarError::new($what, &text, $expected))
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::GrammarError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}
pub(crate) use checked_text;

#[cfg(test)]
mod tests;
