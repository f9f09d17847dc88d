use crate::{Catalog, TokenUse};

pub(super) async fn a_region_token_is_good_once(catalog: Catalog, url: String) {
    let hour = 3_600_000;
    let first = async |region: &str, id: &str| catalog.use_region_token(region, id, hour, 10).await.unwrap();
    assert_eq!(first("a", "one").await, TokenUse::First);
    assert_eq!(first("a", "one").await, TokenUse::Repeated);
    assert_eq!(first("b", "one").await, TokenUse::First, "each region has ids of its own");
    // Another process of the region, or the same one after a restart.
    let other = Catalog::open(&url).await.unwrap();
    assert_eq!(other.use_region_token("a", "one", hour, 10).await.unwrap(), TokenUse::Repeated);
    other.close().await;
    let both = tokio::join!(first("a", "two"), first("a", "two"));
    assert!(matches!(both, (TokenUse::First, TokenUse::Repeated) | (TokenUse::Repeated, TokenUse::First)), "{both:?}");
}

pub(super) async fn so_many_region_tokens_are_remembered(catalog: Catalog, _: String) {
    for id in ["one", "two"] {
        assert_eq!(catalog.use_region_token("a", id, 3_600_000, 2).await.unwrap(), TokenUse::First);
    }
    assert_eq!(catalog.use_region_token("a", "three", 3_600_000, 2).await.unwrap(), TokenUse::TooMany);
    assert_eq!(catalog.use_region_token("a", "two", 3_600_000, 2).await.unwrap(), TokenUse::Repeated);
    assert_eq!(catalog.use_region_token("b", "past", 0, 2).await.unwrap(), TokenUse::First, "others have room");
    assert_eq!(catalog.forget_region_tokens().await.unwrap(), 1);
    assert_eq!(catalog.use_region_token("b", "past", 0, 2).await.unwrap(), TokenUse::First);
}
