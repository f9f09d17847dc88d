use transship_registry::Room;

use super::*;

fn page(raw: &str) -> Result<Page, ManageCode> {
    Page::of(&Query::parse(raw).unwrap()).map_err(|error| error.code())
}

#[test]
fn either_number_may_be_left_out_and_large_pages_are_cut() {
    assert_eq!(page(""), Ok(Page { limit: 100, offset: 0 }));
    assert_eq!(page("offset=7"), Ok(Page { limit: 100, offset: 7 }));
    assert_eq!(page("limit=5"), Ok(Page { limit: 5, offset: 0 }));
    assert_eq!(page("limit=1000000000"), Ok(Page { limit: 1000, offset: 0 }));
}

#[test]
fn what_is_no_number_is_refused() {
    for raw in ["limit=-1", "limit=0", "limit=x", "limit=1.5", "offset=-1", "offset=9223372036854775808", "limit=%2B5"]
    {
        assert_eq!(page(raw), Err(ManageCode::BadPageSize), "{raw}");
    }
}

#[test]
fn the_second_number_of_content_range_counts_records() {
    let response = Page { limit: 10, offset: 20 }.answer_large(&[0; 10], 57, Room::default());
    assert_eq!(response.headers()["content-range"], "20-10/57");
}

#[test]
fn order_needs_both_parts_and_a_known_column() {
    let columns = [("name", 1), ("updated_at", 2)];
    let order = |raw: &str| order(&Query::parse(raw).unwrap(), &columns, (1, false)).map_err(|error| error.code());
    assert_eq!(order(""), Ok((1, false)));
    assert_eq!(order("order_column=updated_at&order_type=desc"), Ok((2, true)));
    for bad in
        ["order_column=name", "order_type=asc", "order_column=x&order_type=asc", "order_column=name&order_type=up"]
    {
        assert_eq!(order(bad), Err(ManageCode::BadOrder), "{bad}");
    }
}
