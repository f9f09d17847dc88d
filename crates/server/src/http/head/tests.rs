use http::StatusCode;

use super::{BodyEnd, check, check_length};

fn status(head: &str) -> u16 {
    check(head.as_bytes()).map_or_else(|refused| refused.refusal.status.as_u16(), |_| 0)
}

fn with(header: &str) -> String {
    format!("PUT /v2/a HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n")
}

#[test]
fn what_clients_send_passes() {
    let fine = [
        ("GET /v2/ HTTP/1.1\r\nHost: a:5000\r\nAccept: */*\r\n\r\n", BodyEnd::Length(0)),
        ("GET /v2/ä HTTP/1.1\r\nHost:[::1]:80\r\nX: \tö\r\n\r\n", BodyEnd::Length(0)),
        ("GET / HTTP/1.0\r\n\r\n", BodyEnd::Length(0)),
        ("GET http://x/v2/ HTTP/1.1\r\nhost: x\r\n\r\n", BodyEnd::Length(0)),
        ("PATCH /v2/a HTTP/1.1\r\nHost: x\r\ntransfer-encoding: Chunked\r\n\r\n", BodyEnd::Chunked),
        ("PUT /v2/a HTTP/1.1\r\nHost: x\r\nContent-Length: 12 \r\n\r\n", BodyEnd::Length(12)),
    ];
    for (head, end) in fine {
        assert_eq!(check(head.as_bytes()), Ok(end), "{head}");
    }
}

#[test]
fn whatever_can_be_read_in_two_ways_is_refused() {
    for header in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding:  chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 18446744073709551616",
        "Content-Length:",
        "X: a\r\n b",
        "X: a\0b",
        "X: a\rb",
        "X Y: a",
        ": a",
        "X",
        "Host: y",
        "Transfer-Encoding\u{b}: chunked",
    ] {
        assert_eq!(status(&with(header)), 400, "{header:?}");
    }
    for head in [
        "GET /v2/ HTTP/1.1\r\n\r\n",
        "GET  /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/ a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/#a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\t/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/\r\nHost: x\r\n\r\n",
        "GET /v2/ http/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "POST /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(status(head), 400, "{head:?}");
    }
    assert_eq!(status("GET / HTTP/3.0\r\nHost: x\r\n\r\n"), 505);
    assert_eq!(status("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
}

#[test]
fn sizes_are_bounded() {
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(bytes - 1));
    assert_eq!((status(&target(8192)), status(&target(8193))), (0, 414));
    let many = |count: usize| with(&vec!["X: y"; count - 1].join("\r\n"));
    assert_eq!((status(&many(100)), status(&many(101))), (0, 431));
    let line = b"GET / HTTP/1.1\r\n";
    let head = |bytes: usize| [&line[..], &vec![b'x'; bytes]].concat();
    assert_eq!(check_length(&head(32 * 1024), Some(line.len())), Ok(()));
    let refused = check_length(&head(32 * 1024 + 1), Some(line.len())).unwrap_err();
    assert_eq!(refused.refusal.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let refused = check_length(&vec![b'x'; 20 * 1024], None).unwrap_err();
    assert_eq!(refused.refusal.status, StatusCode::URI_TOO_LONG);
}

#[test]
fn a_refusal_names_method_and_path_and_no_query() {
    let refused = check(b"GET /v2/a?token=secret HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!((refused.method.as_str(), refused.path.as_str()), ("GET", "/v2/a"));
    let refused = check(b"\x01\x02 nowhere HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!((refused.method.as_str(), refused.path.as_str()), ("-", "/"));
}
