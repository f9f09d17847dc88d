//! Rows A–G of docs/quality/bad-inputs.md, from the data file, through a raw socket; and the few rows that a list of
//! requests cannot say. More of each group is in `bad_input_groups.rs`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use transship_tests::bad_inputs::judge::masked;
use transship_tests::bad_inputs::rows::{self, Row};
use transship_tests::bad_inputs::{Context, Judge, Request, Stage};
use transship_tests::image::{self, Image};
use transship_tests::random::Random;
use transship_tests::{environment, http};

/// The last row of group G.
const LAST_ROW: u16 = 125;

#[tokio::test]
async fn every_row_is_answered_as_it_says() {
    let stage = Stage::start().await;
    let mut judge = Judge::thorough(&stage);
    for row in rows::read() {
        let mut context = Context::default();
        let mut answers = Vec::new();
        for (number, request) in row.requests.iter().enumerate() {
            answers.extend(judge.ask(&title(&row, number, request), request, &mut context).await);
        }
        let mut masked = answers.iter().map(masked);
        let first = masked.next();
        if row.alike && masked.any(|other| Some(&other) != first.as_ref()) {
            judge.problem(&format!("row {}", row.id), &format!("the answers tell something: {answers:?}"));
        }
    }
    judge.finish().await;
}

fn title(row: &Row, number: usize, request: &Request) -> String {
    let text = request.send.as_ref().or(request.raw.as_ref()).map_or("", String::as_str);
    let start: String = text.chars().take(100).collect();
    format!("row {} ({}), request {}: {start:?}", row.id, row.what, number + 1)
}

/// No row is left out, and none is without a test.
#[test]
fn the_data_file_has_every_row_of_the_list() {
    let list = std::fs::read_to_string(environment::root().join("docs/quality/bad-inputs.md")).expect("the list");
    let numbers = list.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u16>().ok());
    let listed: BTreeSet<u16> = numbers.filter(|number| *number <= LAST_ROW).collect();
    let rows = rows::read();
    let in_data: BTreeSet<u16> = rows.iter().map(|row| row.id).collect();
    assert_eq!(listed, in_data);
    assert_eq!(rows.len(), in_data.len(), "a row stands there twice");
    for row in rows {
        assert!(!row.requests.is_empty() || !row.test.is_empty(), "row {} asks nothing", row.id);
        for test in &row.test {
            let (suite, name) = test.split_once("::").unwrap_or_else(|| panic!("row {}: {test}", row.id));
            let code: String = ["tests", "crates/server"]
                .iter()
                .filter_map(|room| {
                    std::fs::read_to_string(environment::root().join(format!("{room}/tests/{suite}.rs"))).ok()
                })
                .collect();
            assert!(code.contains(&format!("fn {name}(")), "row {}: there is no test {test}", row.id);
        }
    }
}

/// Row 51: forty levels, each naming the one before twice: 2^40 paths. It is taken, and no walk goes every path.
#[tokio::test]
async fn an_index_with_two_to_the_fortieth_paths() {
    let stage = Stage::start().await;
    let app = stage.region.registry(stage.admin()).open("t/app", "pull,push").await;
    let mut child = Image::random(&mut Random::seeded(2), 1, 100);
    app.push("deep-0", &child).await;
    for level in 1..=40 {
        let entry = |name: &str| {
            json!({"mediaType": child.media_type, "digest": child.digest(), "size": child.raw.len(),
                "annotations": {"name": name}})
        };
        let raw = json!({"schemaVersion": 2, "mediaType": image::INDEX, "manifests": [entry("a"), entry("b")]});
        let index = Image {
            media_type: image::INDEX,
            raw: raw.to_string().into_bytes(),
            blobs: Vec::new(),
            children: Vec::new(),
        };
        let reply = app.put_manifest(&format!("deep-{level}"), index.media_type, &index.raw).await;
        assert_eq!(reply.status, 201, "level {level}: {}", reply.text());
        child = index;
    }
    // The list of tags with what is below each, and the copy of the whole into another organization, end.
    let manage = stage.region.manage(stage.admin());
    let tags = manage.call("GET", "/v2/manage/namespaces/t/repos/app/tags?limit=100", None).await.expect(200);
    assert!(tags.text().contains("deep-40"), "{}", tags.text());
    http::send(app.request(Method::GET, "manifests/deep-40")).await.expect(200);
}

/// Row 69: of two chunks for the same place one is taken, and what is committed is what its digest says.
#[tokio::test]
async fn two_chunks_at_once_in_one_session() {
    let stage = Stage::start().await;
    let app = stage.region.registry(stage.admin()).open("t/app", "pull,push").await;
    let bytes = Random::seeded(3).bytes(2_000_000);
    for round in 0..5 {
        let session = stage.session(b"").await;
        let below = session.strip_prefix("/v2/t/app/").expect("a session of the repository");
        let patch = || {
            let patch = app.request(Method::PATCH, below).header("Content-Range", format!("0-{}", bytes.len() - 1));
            http::send(patch.body(bytes.clone()))
        };
        let (first, second) = tokio::join!(patch(), patch());
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert!(matches!(statuses, [202, 409 | 416]), "round {round}: {statuses:?} {}", second.text());
        let digest = image::digest(&bytes);
        let put = app.request(Method::PUT, &format!("{below}?digest={digest}")).header("Content-Length", "0");
        http::send(put).await.expect(201);
        let blob = http::send(app.request(Method::GET, &format!("blobs/{digest}"))).await.expect(200);
        assert!(blob.body == bytes, "round {round}: other bytes");
    }
}

/// Row 86: more tags than a page holds.
#[tokio::test]
async fn a_page_is_never_larger_than_the_servers() {
    let stage = Stage::start().await;
    let many = stage.region.registry(stage.admin()).open("t/many", "pull,push").await;
    let image = Image::random(&mut Random::seeded(4), 1, 100);
    many.push("first", &image).await;
    let tags: Vec<String> = (0..1010).map(|number| format!("n{number:04}")).collect();
    for some in tags.chunks(46) {
        let query: Vec<String> = some.iter().map(|tag| format!("tag={tag}")).collect();
        let path = format!("manifests/{}?{}", image.digest(), query.join("&"));
        let put = many.request(Method::PUT, &path).header("Content-Type", image.media_type);
        http::send(put.body(image.raw.clone())).await.expect(201);
    }
    let page = http::send(many.request(Method::GET, "tags/list?n=5000000")).await.expect(200);
    let link = page.header("link").expect("there is more").to_owned();
    let found = page.json()["tags"].as_array().map_or(0, Vec::len);
    assert!((1..1011).contains(&found), "{found} tags on a page");
    let next = link.split(['<', '>']).nth(1).and_then(|target| target.strip_prefix("/v2/t/many/")).expect("a link");
    let rest = http::send(many.request(Method::GET, next)).await.expect(200);
    assert_eq!(rest.json()["tags"].as_array().map_or(0, Vec::len), 1011 - found);
    assert_eq!(rest.header("link"), None);
}
