use percent_encoding::percent_decode_str;
use proptest::prelude::{any, proptest};

use super::Link;
use crate::testing::nearly;

proptest! {
    #[test]
    fn links_keep_their_text(n in any::<u16>(), last in any::<String>()) {
        let link = Link::next("/v2/team/app/tags/list", &[("n", &n.to_string()), ("last", &last)]);
        assert_eq!(link.to_string().parse(), Ok(link.clone()));
        let (_, encoded) = link.target().split_once("&last=").unwrap();
        assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), last);
    }

    #[test]
    fn no_header_makes_the_parser_panic(header in nearly(r#"<[a-z/?,;]{0,9}>; ?rel="?(next|prev)"?"#, "<>;,=\" rel")) {
        if let Ok(link) = header.parse::<Link>() {
            assert!(header.contains(&format!("<{}>", link.target())));
        }
    }
}

#[test]
fn format_is_that_of_the_specification() {
    let link = Link::next("/v2/team/app/tags/list", &[("n", "5"), ("last", "v1.0")]);
    assert_eq!(link.to_string(), "</v2/team/app/tags/list?n=5&last=v1.0>; rel=\"next\"");
    assert_eq!(Link::next("/v2/_catalog", &[]).target(), "/v2/_catalog");
}

#[test]
fn the_next_page_is_found_among_others() {
    let link: Link = "</a?x=1,2;3>; rel=\"prev\", <https://h/b?last=c,d>;title=x; REL=next".parse().unwrap();
    assert_eq!(link.target(), "https://h/b?last=c,d");
    for header in ["", "</a>", "</a>; rel=\"prev\"", "/a; rel=next", "<a b>; rel=next", "</a; rel=next"] {
        assert!(header.parse::<Link>().is_err(), "{header}");
    }
}
