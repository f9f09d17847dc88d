use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{Framing, Stop};

const GET: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
/// What must never be taken for a request of its own.
const SMUGGLED: &[u8] = b"GET /admin HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Everything passed.
    Open,
    /// Cut off in a body, without an answer.
    Cut,
    /// Cut off with an answer.
    Refused(u16),
}

/// Feeds a stream in pieces of one size; returns the number of bytes that passed, and how it ended.
fn feed(stream: &[u8], piece: usize) -> (usize, End) {
    let mut framing = Framing::new();
    let mut passed = 0;
    for bytes in stream.chunks(piece) {
        match framing.received(bytes) {
            Ok(()) => passed += bytes.len(),
            Err(Stop { good, refused }) => {
                return (
                    passed + good,
                    refused.map_or(End::Cut, |refused| End::Refused(refused.refusal.status.as_u16())),
                );
            }
        }
    }
    (passed, End::Open)
}

fn put(body: &[u8]) -> Vec<u8> {
    let head = format!("PUT /v2/a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut bytes = b"PATCH /v2/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(chunk) {
        bytes.extend_from_slice(format!("{:X};name=\"value\"\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    bytes
}

/// One request: a body of any bytes, and how it is sent.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..200).prop_map(|random| [SMUGGLED, &random].concat());
    (body, 0_usize..60).prop_map(|(body, chunk)| if chunk == 0 { put(&body) } else { chunked(&body, chunk) })
}

proptest! {
    /// All of it passes and the next head is found, whatever bodies hold and however the bytes are cut.
    #[test]
    fn bodies_are_bodies(requests in prop::collection::vec(request(), 1..5), piece in 1_usize..500) {
        let stream = requests.concat();
        prop_assert_eq!(feed(&stream, piece), (stream.len(), End::Open));
        let (passed, end) = feed(&[&stream[..], SMUGGLED].concat(), piece);
        prop_assert_eq!(end, End::Refused(400));
        prop_assert!(passed >= stream.len() && passed < stream.len() + SMUGGLED.len());
    }

    #[test]
    fn any_bytes_at_all_are_survived(stream in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let _ = feed(&stream, piece);
    }
}

#[test]
fn a_bad_head_stops_the_connection_and_what_was_before_it_passes() {
    let bad = b"GET / HTTP/1.1\nHost: x\r\n\r\n";
    for piece in 1..100 {
        let (passed, end) = feed(&[&put(SMUGGLED)[..], GET, bad, GET].concat(), piece);
        assert_eq!(end, End::Refused(400), "{piece}");
        assert!(passed >= put(SMUGGLED).len() + GET.len(), "{piece}");
    }
    let mut framing = Framing::new();
    assert!(framing.received(bad).is_err());
    assert_eq!(framing.received(GET), Err(Stop { good: 0, refused: None }), "nothing passes after it");
}

#[test]
fn a_broken_chunk_ends_the_body_where_it_breaks() {
    let head = b"PATCH / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5 \r\nabcde\r\n0\r\n\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdeX\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "\r\n",
        "-1\r\n",
        "11111111111111111\r\n",
        "5;a\nb\r\nabcde\r\n",
        "0\r\n\n",
        "0\r\na: b\rc\r\n\r\n",
    ] {
        let (passed, end) = feed(&[head, body.as_bytes()].concat(), 7);
        assert_eq!(end, End::Cut, "{body:?}");
        assert!(passed >= head.len(), "{body:?}");
    }
    let long = [&head[..], b"0\r\n", &b"a: b\r\n".repeat(2000)].concat();
    assert_eq!(feed(&long, 100).1, End::Cut, "trailers without end");
    let long = [&head[..], b"1;", &[b'a'; 1000]].concat();
    assert_eq!(feed(&long, 100).1, End::Cut, "an extension without end");
}

#[test]
fn heads_without_end_are_refused_as_soon_as_they_are_too_long() {
    let (passed, end) = feed(&vec![b'a'; 20_000], 1000);
    assert_eq!(end, End::Refused(414));
    assert!(passed <= 9000, "{passed}");
    let endless = [&b"GET / HTTP/1.1\r\n"[..], &b"x: y\r\n".repeat(20_000)].concat();
    let (passed, end) = feed(&endless, 1000);
    assert_eq!(end, End::Refused(431));
    assert!(passed <= 34_000, "{passed}");
}

#[test]
fn http2_is_left_alone() {
    for piece in [1, 24, 100] {
        let stream = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"[..], b"\n\n\n\n", GET, SMUGGLED].concat();
        assert_eq!(feed(&stream, piece), (stream.len(), End::Open));
    }
    let late = [GET, b"PRI * HTTP/2.0\r\n\r\n"].concat();
    assert_eq!(feed(&late, 100).1, End::Refused(505), "only at the beginning");
}
