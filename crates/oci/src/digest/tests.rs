use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::sample::Index;

use super::{Digest, DigestAlgorithm, Hasher};
use crate::testing::{DIGEST, algorithm, assert_accepts_exactly, digest_text, nearly, whole};

const EMPTY_SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn known_content_has_its_known_digest() {
    assert_eq!(Digest::of(DigestAlgorithm::Sha256, b"").as_str(), EMPTY_SHA256);
    let abc = Digest::of(DigestAlgorithm::Sha512, b"abc");
    assert!(abc.hex().starts_with("ddaf35a193617abacc417349ae204131"));
    assert!(abc.hex().ends_with("2a9ac94fa54ca49f"));
    assert_eq!(abc.algorithm(), DigestAlgorithm::Sha512);
}

#[test]
fn other_forms_are_refused() {
    let hex = &EMPTY_SHA256["sha256:".len()..];
    let cut = &hex[1..];
    for text in [
        hex.to_owned(),
        format!("sha256:{cut}"),
        format!("sha256:{hex}0"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha512:{hex}"),
        format!("sha384:{hex}{}", &hex[..32]),
        "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        format!("sha256:sha256:{hex}"),
        format!(" sha256:{hex}"),
        format!("sha256:{hex}\n"),
    ] {
        let error = text.parse::<Digest>().unwrap_err();
        assert_eq!(error.what(), "digest", "{text}");
    }
    assert!("md5".parse::<DigestAlgorithm>().is_err());
}

#[test]
fn a_digest_is_a_json_string_and_checked_when_read() {
    let json = format!("\"{EMPTY_SHA256}\"");
    let digest: Digest = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&digest).unwrap(), json);
    assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
}

#[test]
fn a_saved_state_of_another_kind_is_refused() {
    let sha256 = Hasher::new(DigestAlgorithm::Sha256).save();
    let sha512 = Hasher::new(DigestAlgorithm::Sha512).save();
    let hex_of_256 = sha256.strip_prefix("sha256:").unwrap();
    for saved in
        ["", "sha256:", "sha256:zz", hex_of_256, &format!("sha512:{hex_of_256}"), &format!("{sha256}00"), &sha512[..99]]
    {
        assert!(Hasher::restore(saved).is_err(), "{saved}");
    }
}

/// Cuts content at any number of places, which may coincide.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (vec(any::<u8>(), 0..600), vec(any::<Index>(), 0..6)).prop_map(|(content, cuts)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(content.len());
        let mut start = 0;
        cuts.into_iter().map(|end| content[std::mem::replace(&mut start, end)..end].to_vec()).collect()
    })
}

fn state_text() -> impl Strategy<Value = String> + Clone {
    algorithm().prop_map(|algorithm| Hasher::new(algorithm).save()).boxed()
}

proptest! {
    #[test]
    fn valid_digests_keep_their_text(text in digest_text()) {
        assert_accepts_exactly::<Digest>(&text, true);
        let digest: Digest = text.parse().unwrap();
        assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
    }

    #[test]
    fn accepted_exactly_when_the_specification_does(text in nearly(digest_text(), "0af:gF25sha6")) {
        assert_accepts_exactly::<Digest>(&text, whole(DIGEST).is_match(&text));
    }

    #[test]
    fn work_put_aside_between_any_pieces_gives_the_same_digest(algorithm in algorithm(), pieces in pieces()) {
        let mut hasher = Hasher::new(algorithm);
        for piece in &pieces {
            hasher = Hasher::restore(&hasher.save()).unwrap();
            assert_eq!(hasher.algorithm(), algorithm);
            hasher.update(piece);
        }
        assert_eq!(hasher.finish(), Digest::of(algorithm, &pieces.concat()));
    }

    /// A damaged state may yield any digest, because no content is expected to have it.
    #[test]
    fn a_damaged_state_is_refused_or_restored_as_it_is(text in nearly(state_text(), "0af:gF25sha6")) {
        if let Ok(hasher) = Hasher::restore(&text) {
            assert_eq!(hasher.save(), text.to_lowercase());
        }
    }
}
