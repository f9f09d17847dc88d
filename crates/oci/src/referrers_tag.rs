//! The referrers tag: the tag under which clients without the referrers API list the manifests that refer to another.
//!
//! Owns: the conversion from a digest to its tag, and back. Never: what is stored at such a tag.

use crate::digest::{Digest, DigestAlgorithm};
use crate::name::Tag;

/// The specification cuts the digest to this many digits, so that it fits into a tag.
const REFERRERS_TAG_DIGITS: usize = 64;

impl Digest {
    /// The tag under which clients without the referrers API list the manifests that refer to this digest.
    ///
    /// It is the algorithm, a hyphen and the first 64 digits, as in `sha256-…`.
    pub fn referrers_tag(&self) -> Tag {
        let tag = format!("{}-{}", self.algorithm(), &self.hex()[..REFERRERS_TAG_DIGITS]);
        tag.parse().expect("letters, digits and a hyphen make a tag")
    }
}

/// Returns the prefix of all digests with this [`Digest::referrers_tag`]; `None` if the tag is not a referrers tag.
pub fn referrers_tag_subject(tag: &Tag) -> Option<String> {
    let (algorithm, hex) = tag.as_str().split_once('-')?;
    algorithm.parse::<DigestAlgorithm>().ok()?;
    let is_hex = hex.len() == REFERRERS_TAG_DIGITS && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| format!("{algorithm}:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::{Digest, DigestAlgorithm, referrers_tag_subject};

    #[test]
    fn the_referrers_tag_leads_back_to_its_subject() {
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
            let digest = Digest::of(algorithm, b"content");
            let tag = digest.referrers_tag();
            assert_eq!(tag.as_str(), format!("{algorithm}-{}", &digest.hex()[..64]));
            let start = referrers_tag_subject(&tag).unwrap();
            assert!(digest.as_str().starts_with(&start), "{start}");
        }
        let hex = "0".repeat(64);
        for other in [
            "v1",
            "sha256",
            &hex,
            &format!("sha256-{hex}.sig"),
            &format!("md5-{hex}"),
            &format!("sha256-{}", &hex[1..]),
        ] {
            assert_eq!(referrers_tag_subject(&other.parse().unwrap()), None, "{other}");
        }
    }
}
