//! Lists of name patterns, as an operator writes them.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Maximum number of patterns in one list: each request of a peer is matched against all of them.
const MAX_PATTERNS: usize = 256;
/// Maximum length of a pattern: twice the longest name.
const MAX_PATTERN_BYTES: usize = 128;

/// A list of patterns for names of accounts or organizations. A name matches if one pattern matches all of it.
///
/// `*` stands for any characters, `?` for one, `[a-z]` for one of a set, `{a,b}` for one of several.
#[derive(Clone, Debug)]
pub struct NamePatterns {
    patterns: Vec<String>,
    matching: GlobSet,
}

impl NamePatterns {
    /// Parses patterns as an operator wrote them.
    ///
    /// # Errors
    /// A sentence that names the invalid pattern.
    pub fn new(patterns: Vec<String>) -> Result<Self, String> {
        if patterns.is_empty() || patterns.len() > MAX_PATTERNS {
            return Err(format!("{} patterns; 1 to {MAX_PATTERNS} are taken", patterns.len()));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
                return Err(format!("pattern {pattern:?} is not 1 to {MAX_PATTERN_BYTES} characters long"));
            }
            let glob = GlobBuilder::new(pattern).build();
            set.add(glob.map_err(|error| format!("pattern {pattern:?}: {}", error.kind()))?);
        }
        let matching = set.build().map_err(|error| format!("the patterns are too much together: {}", error.kind()))?;
        Ok(Self { patterns, matching })
    }

    /// Whether a name matches one of the patterns.
    pub fn matches(&self, name: &str) -> bool {
        self.matching.is_match(name)
    }

    /// Whether the list has the pattern `*`, which every name matches.
    pub fn is_everything(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern == "*")
    }
}

impl Default for NamePatterns {
    /// Matches every name.
    fn default() -> Self {
        Self::new(vec!["*".to_owned()]).expect("this pattern is good")
    }
}

impl PartialEq for NamePatterns {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for NamePatterns {}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Result<NamePatterns, String> {
        NamePatterns::new(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn a_pattern_matches_a_whole_name() {
        let some = patterns(&["team-*", "ops"]).unwrap();
        for (name, among) in [("team-a", true), ("team-", true), ("ops", true), ("ops2", false), ("my-team-a", false)] {
            assert_eq!(some.matches(name), among, "{name}");
        }
        assert!(!some.is_everything());
        assert!(NamePatterns::default().matches("whatever") && NamePatterns::default().is_everything());
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for (texts, what) in [(&["team-["][..], "team-["), (&[""][..], "\"\""), (&[][..], "0 patterns")] {
            let error = patterns(texts).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
