//! `WWW-Authenticate`, which comes from registries that are not ours: a challenge that is understood comes back from its
//! own text, and no value can break out of a header. `Link`, the other header that a client follows, beside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use transship_oci::{Challenge, Link};

fuzz_target!(|header: &str| {
    if let Ok(challenge) = header.parse::<Challenge>() {
        let text = challenge.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&challenge), "{header:?}");
        assert!(header.to_ascii_lowercase().contains("bearer"));
    }
    // Whatever a value is, its challenge is one header line, and the other values are not touched.
    let odd = Challenge { realm: header.to_owned(), service: "s".to_owned(), scope: None, error: None };
    let text = odd.to_string();
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
    let back: Challenge = text.parse().expect("what is written can be read");
    assert_eq!((back.service.as_str(), back.scope, back.error), ("s", None, None));

    if let Ok(link) = header.parse::<Link>() {
        assert!(header.contains(&format!("<{}>", link.target())));
        assert!(link.target().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(link.to_string().parse().as_ref(), Ok(&link));
    }
    let next = Link::next("/v2/team/app/tags/list", &[("n", "5"), ("last", header)]);
    assert_eq!(next.to_string().parse(), Ok(next));
});
