use super::*;

fn page(raw: &str) -> Result<Page, ErrorCode> {
    Page::of(&Query::parse(raw).unwrap()).map_err(|error| error.code)
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
        assert_eq!(page(raw), Err(ErrorCode::BadPageSize), "{raw}");
    }
}

#[test]
fn the_second_number_of_content_range_counts_records() {
    let range = Page { limit: 10, offset: 20 }.range(10, 57);
    assert_eq!(range.to_string(), "20-10/57");
    assert_eq!("20-10/57".parse(), Ok(range));
    for bad in ["", "20", "20-10", "20/57", "a-1/2", "1-+1/2", "1-1/2/3", "-1-1/2"] {
        assert_eq!(bad.parse::<ContentRange>().unwrap_err().code, ErrorCode::BadParameter, "{bad}");
    }
}

#[test]
fn order_needs_both_parts_and_a_known_column() {
    let columns = [("name", 1), ("updated_at", 2)];
    let order = |raw: &str| order(&Query::parse(raw).unwrap(), &columns, (1, false)).map_err(|error| error.code);
    assert_eq!(order(""), Ok((1, false)));
    assert_eq!(order("order_column=updated_at&order_type=desc"), Ok((2, true)));
    for bad in
        ["order_column=name", "order_type=asc", "order_column=x&order_type=asc", "order_column=name&order_type=up"]
    {
        assert_eq!(order(bad), Err(ErrorCode::BadOrder), "{bad}");
    }
}

#[test]
fn a_page_and_its_order_are_read_as_they_were_written() {
    let page = Page { limit: 5, offset: 7 };
    let query = page.write(Query::default()).ordered_by("name", true);
    assert_eq!(Page::of(&query), Ok(page));
    assert_eq!(order(&query, &[("name", 1)], (0, false)), Ok((1, true)));
}
