//! Bytes on their way in and out while something else happens: a region that is told to end, clients that do not read.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::{Answer, Region, Request, pause};
use sha2::{Digest as _, Sha256};

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Begins a request with a body of its own pace.
fn begin(region: &Region, method: &str, target: &str, bearer: &str, length: usize) -> TcpStream {
    let mut stream = region.connect();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: h\r\nAuthorization: {bearer}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn send(region: &Region, method: &str, target: &str, bearer: &str) -> Answer {
    region.send(&Request { method, target, headers: &[("Authorization", bearer)], body: "" })
}

/// F36: a push is under way when the region is told to end. The chunk in flight is taken, the process ends by itself, and
/// the upload goes on in the next one.
#[test]
fn a_push_outlives_the_end_of_its_region() {
    let mut region = Region::start("");
    let bearer = region.push_token("team", "app");
    let (first, second) = (vec![1_u8; 300_000], vec![2_u8; 200_000]);
    let started = send(&region, "POST", "/v2/team/app/blobs/uploads/", &bearer);
    let session = started.header("location").to_owned();
    let mut push = begin(&region, "PATCH", &session, &bearer, first.len());
    push.write_all(&first[..100_000]).unwrap();
    pause();
    region.terminate();
    region.wait_for_log(|line| line["message"] == "draining");
    push.write_all(&first[100_000..]).unwrap();
    let answer = Answer::read(&mut push);
    assert_eq!((answer.status, answer.header("range"), answer.header("connection")), (202, "0-299999", "close"));
    assert_eq!(region.wait(), Some(0));

    region.restart();
    assert_eq!(send(&region, "GET", &session, &bearer).header("range"), "0-299999");
    let whole = digest(&[&first[..], &second].concat());
    let mut rest = begin(&region, "PUT", &format!("{session}?digest={whole}"), &bearer, second.len());
    rest.write_all(&second).unwrap();
    assert_eq!(Answer::read(&mut rest).status, 201);
    assert_eq!(send(&region, "HEAD", &format!("/v2/team/app/blobs/{whole}"), &bearer).status, 200);
}

/// F12, the other way round: many clients ask for a large blob and read nothing of it.
#[test]
fn readers_that_do_not_read_cost_a_piece_each() {
    let region = Region::start("");
    let bearer = region.push_token("team", "app");
    let blob = vec![7_u8; 64 << 20];
    let target = format!("/v2/team/app/blobs/uploads/?digest={}", digest(&blob));
    let mut push = begin(&region, "POST", &target, &bearer, blob.len());
    push.write_all(&blob).unwrap();
    assert_eq!(Answer::read(&mut push).status, 201);
    let before = region.resident_kib();
    let path = format!("/v2/team/app/blobs/{}", digest(&blob));
    let mut readers: Vec<TcpStream> = (0..40).map(|_| begin(&region, "GET", &path, &bearer, 0)).collect();
    for reader in &mut readers {
        // It is being answered, and nobody reads on.
        reader.read_exact(&mut [0; 15]).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(region.get("/readyz").status, 200);
        pause();
    }
    // A piece is 512 KiB, and one is read ahead; 40 whole blobs would be 2.5 GiB.
    let grown = region.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for 40 readers that do not read");
    // One that reads in the end gets all of it.
    let mut rest = Vec::new();
    let reader = &mut readers[0];
    while rest.len() < blob.len() {
        let mut piece = vec![0; 1 << 20];
        let read = reader.read(&mut piece).unwrap();
        assert!(read > 0, "the answer ends after {} bytes", rest.len());
        rest.extend_from_slice(&piece[..read]);
    }
}
