//! Beyond the rows of docs/quality/bad-inputs.md: many members of each group, made by a rule or at random, with the
//! expected answer computed by a function that knows nothing of the server. What holds for every answer is checked too.

use serde_json::{Value, json};
use transship_tests::bad_inputs::forge::{Forged, claims_of};
use transship_tests::bad_inputs::{Actor, Context, Judge, Request, Stage};
use transship_tests::random::Random;
use transship_tests::{signature, soak};

/// What the session of the `Content-Range` group holds, and what each chunk brings.
const TEN: &str = "0123456789";

fn request(send: String, status: &[u16], code: &[&str]) -> Request {
    let code = code.iter().map(|code| (*code).to_owned()).collect();
    Request { send: Some(send), status: status.to_vec(), code, ..Request::default() }
}

/// Group A: every byte, encoded, put into a name at every position.
#[tokio::test]
async fn names_with_every_byte_at_every_position() {
    let stage = Stage::start().await;
    let mut judge = Judge::quick(&stage);
    let name = b"t/a-b";
    for position in 0..=name.len() {
        for byte in 0..=u8::MAX {
            let (before, after) = name.split_at(position);
            let text = [before, &[byte], after].concat();
            let path = [before, format!("%{byte:02X}").as_bytes(), after].concat();
            let path = String::from_utf8(path).expect("it is ASCII");
            // An encoded slash separates nothing, and is no letter of a name.
            let (status, code) = if byte != b'/' && is_name(&text) { (401, "DENIED") } else { (400, "NAME_INVALID") };
            let ask = request(format!("GET /v2/{path}/tags/list"), &[status], &[code]);
            judge.ask(&path, &ask, &mut Context::default()).await;
        }
    }
    judge.finish().await;
}

/// Contract 2.1, written down a second time.
fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |component: &[u8]| {
        let separators: Vec<&[u8]> = component.split(is_letter).filter(|run| !run.is_empty()).collect();
        component.first().is_some_and(is_letter)
            && component.last().is_some_and(is_letter)
            && separators.iter().all(|run| matches!(*run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-'))
    };
    let components: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    components.len() > 1 && name[0].is_ascii_lowercase() && components.iter().all(|component| is_component(component))
}

/// Group B: every byte in a tag, and digests of every length and with a wrong character at every position.
#[tokio::test]
async fn tags_and_digests_of_every_kind() {
    let stage = Stage::start().await;
    let mut judge = Judge::quick(&stage);
    let context = &mut Context::default();
    for position in 0..3 {
        for byte in 0..=u8::MAX {
            let mut path = "v1".to_owned();
            path.insert_str(position, &format!("%{byte:02X}"));
            let is_first = byte.is_ascii_alphanumeric() || byte == b'_';
            let is_tag = is_first || (position > 0 && matches!(byte, b'.' | b'-'));
            // A colon makes it a digest; where a tag may be, it must not be made: it is only asked for.
            let ask = if is_tag {
                request(format!("GET /v2/t/app/manifests/{path}"), &[404], &["MANIFEST_UNKNOWN"])
            } else {
                let code = if byte == b':' { "DIGEST_INVALID" } else { "MANIFEST_INVALID" };
                let ask = request(format!("PUT /v2/t/app/manifests/{path}"), &[400], &[code]);
                Request { media_type: Some("image".to_owned()), body: Some("<<image>>".to_owned()), ..ask }
            };
            let lacks = vec!["Location".to_owned(), "X".to_owned()];
            judge.ask(&path, &Request { lacks, ..ask }, context).await;
        }
    }
    for (algorithm, right) in [("sha256", 64), ("sha512", 128)] {
        for length in 0..=136 {
            let hex: String = "0123456789abcdef".chars().cycle().take(length).collect();
            let (status, code) = if length == right { (404, "BLOB_UNKNOWN") } else { (400, "DIGEST_INVALID") };
            let path = format!("/v2/t/app/blobs/{algorithm}:{hex}");
            judge.ask(&path, &request(format!("GET {path}"), &[status], &[code]), context).await;
        }
        for position in 0..right {
            for wrong in ["g", "A", "%20", "%00", "-"] {
                let (before, after) = ("0".repeat(position), "0".repeat(right - position - 1));
                let path = format!("/v2/t/app/blobs/{algorithm}:{before}{wrong}{after}");
                judge.ask(&path, &request(format!("GET {path}"), &[400], &["DIGEST_INVALID"]), context).await;
            }
        }
    }
    judge.finish().await;
}

/// Group C: a manifest cut at every byte, with every value of another type, and with bytes changed at random.
#[tokio::test]
async fn manifests_cut_retyped_and_changed() {
    let stage = Stage::start().await;
    let mut random = Random::for_test("manifests_cut_retyped_and_changed");
    let good = manifest(&stage);
    let text = good.to_string();

    let mut judge = Judge::quick(&stage);
    for end in 0..text.len() {
        let ask = put("cut", &text.as_bytes()[..end], &[400], &["MANIFEST_INVALID"]);
        judge.ask(&format!("cut at {end}"), &ask, &mut Context::default()).await;
    }
    judge.finish().await;

    let mut judge = Judge::quick(&stage);
    for path in paths(&good) {
        for value in [json!(null), json!(true), json!(-1), json!(1.5), json!("x"), json!([]), json!({})] {
            let mut changed = good.clone();
            *changed.pointer_mut(&path).expect("a path of the manifest") = value.clone();
            let status = if may_be(&path, &value) { 201 } else { 400 };
            let ask = put("retyped", changed.to_string().as_bytes(), &[status], &["MANIFEST_INVALID"]);
            judge.ask(&format!("{path} is {value}"), &Request { changes: true, ..ask }, &mut Context::default()).await;
        }
    }
    for round in 0..soak::rounds(300, 20_000) {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=random.below(2) {
            let position = usize::try_from(random.below(bytes.len() as u64)).expect("below its length");
            bytes[position] = u8::try_from(random.below(256)).expect("below 256");
        }
        if bytes.windows(2).any(|pair| pair == b"<<") {
            // That would be read as a mark of the harness.
            continue;
        }
        // Whatever it says now, it is refused, or stored as it is.
        let ask = Request { changes: true, ..put("changed", &bytes, &[201, 400, 404], &[]) };
        let what = format!("round {round}");
        let answer = judge.ask(&what, &ask, &mut Context::default()).await;
        let location = answer.filter(|answer| answer.status == 201);
        let Some(path) = location.and_then(|answer| answer.header("location").map(str::to_owned)) else { continue };
        let get = request(format!("GET {path}"), &[200], &[]);
        if judge.ask(&what, &get, &mut Context::default()).await.is_none_or(|stored| stored.body != bytes) {
            judge.problem(&what, "other bytes came back");
        }
    }
    judge.finish().await;
}

/// A manifest with something in every field that is read, and one that is not.
fn manifest(stage: &Stage) -> Value {
    let part = |name: &str| serde_json::from_str::<Value>(stage.value(name)).expect("a value of the stage is JSON");
    let mut layer = part("layer");
    layer["urls"] = json!([]);
    layer["annotations"] = json!({"k": "v"});
    json!({
        "schemaVersion": 2,
        "mediaType": transship_tests::image::IMAGE,
        "artifactType": "a/b",
        "config": part("config"),
        "layers": [layer],
        "subject": {"mediaType": transship_tests::image::IMAGE, "digest": stage.value("manifest"), "size": 7},
        "annotations": {"k": "v"},
        "unknown": {"k": 1},
    })
}

/// A pointer to every value of the JSON but the whole.
fn paths(json: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match json {
        Value::Object(members) => members.iter().map(|(name, value)| (format!("/{name}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (format!("/{at}"), value)).collect(),
        _ => Vec::new(),
    };
    let below = |(start, value): (String, &Value)| {
        let inner: Vec<String> = paths(value).iter().map(|path| format!("{start}{path}")).collect();
        std::iter::once(start).chain(inner).collect::<Vec<_>>()
    };
    children.into_iter().flat_map(below).collect()
}

/// Whether a manifest may have this value there: the image specification, with null for what may be left out.
fn may_be(path: &str, value: &Value) -> bool {
    let is_text = *value == "x";
    match path {
        "/unknown" | "/unknown/k" => true,
        "/mediaType" | "/subject" => value.is_null(),
        "/artifactType" => value.is_null() || is_text,
        "/layers" | "/layers/0/urls" => value.is_null() || *value == json!([]),
        "/annotations" | "/layers/0/annotations" => value.is_null() || *value == json!({}),
        "/annotations/k"
        | "/layers/0/annotations/k"
        | "/config/mediaType"
        | "/layers/0/mediaType"
        | "/subject/mediaType" => is_text,
        _ => false,
    }
}

fn put(tag: &str, body: &[u8], status: &[u16], code: &[&str]) -> Request {
    let bytes: String = body.iter().map(|byte| char::from(*byte)).collect();
    let put = request(format!("PUT /v2/t/app/manifests/{tag}"), status, code);
    Request { media_type: Some("image".to_owned()), bytes: Some(bytes), ..put }
}

/// Groups D and E: ranges of reads and of chunks, page sizes and where a page begins.
#[tokio::test]
async fn ranges_and_pages_at_random() {
    let stage = Stage::start().await;
    let mut random = Random::for_test("ranges_and_pages_at_random");
    let mut judge = Judge::quick(&stage);
    let rounds = soak::rounds(400, 20_000);
    let context = &mut Context::default();
    for _ in 0..rounds {
        let header = nearly_range(&mut random, "bytes=");
        let (status, part) = selected(&header);
        let get = request("GET /v2/t/app/blobs/<<blob>>".to_owned(), &[status], &[]);
        let shape = if status == 416 { transship_tests::bad_inputs::Shape::Bare } else { get.shape };
        let get = Request { headers: vec![format!("Range: {header}")], shape, ..get };
        if let Some(answer) = judge.ask(&format!("Range: {header}"), &get, context).await
            && answer.status == status
            && status != 416
            && answer.body != part.as_bytes()
        {
            judge.problem(&format!("Range: {header}"), &format!("the bytes {:?}, expected {part:?}", answer.text()));
        }
    }
    for _ in 0..rounds {
        let header = nearly_range(&mut random, "");
        let Some(statuses) = chunk_statuses(&header) else { continue };
        let patch = request(format!("PATCH <<session:{TEN}>>"), statuses, &["BLOB_UPLOAD_INVALID"]);
        let headers = vec![format!("Content-Range: {header}")];
        judge
            .ask(
                &format!("Content-Range: {header}"),
                &Request { headers, body: Some(TEN.to_owned()), ..patch },
                context,
            )
            .await;
    }
    let status = request("GET <<session>>".to_owned(), &[204], &[]);
    judge.ask("the session", &Request { has: vec!["Range: 0-9".to_owned()], ..status }, context).await;

    for _ in 0..rounds {
        let n = of_chars(&mut random, "0123456789999-+.x ", 3);
        let after = of_chars(&mut random, "v012~ %\"<>\\'", 3);
        let fine = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
        let list = format!("GET /v2/t/app/tags/list?n={}&last={}", encoded(&n), encoded(&after));
        let get = request(list.clone(), &[if fine { 200 } else { 400 }], &["UNSUPPORTED"]);
        let answer = judge.ask(&list, &get, context).await.filter(|answer| answer.status == 200);
        // The stage has one tag.
        let expected = if *"v1" > *after && n.bytes().any(|byte| byte != b'0') { json!(["v1"]) } else { json!([]) };
        if answer.is_some_and(|answer| answer.json().unwrap_or_default()["tags"] != expected) {
            judge.problem(&list, &format!("other tags than {expected}"));
        }
    }
    judge.finish().await;
}

/// Texts that are ranges, nearly ranges, and seldom anything like one.
fn nearly_range(random: &mut Random, start: &str) -> String {
    let number = |random: &mut Random| match random.below(6) {
        0 => String::new(),
        1 => "9".repeat(usize::try_from(random.below(30)).expect("a small number")),
        _ => random.below(25).to_string(),
    };
    let mut text = format!("{start}{}-{}", number(random), number(random));
    while random.below(3) == 0 {
        let position = usize::try_from(random.below(text.len() as u64 + 1)).expect("a small number");
        text.insert_str(position, &of_chars(random, "0159-=,/+xB", 1));
    }
    text
}

/// Every byte of a text percent-encoded.
fn encoded(text: &str) -> String {
    signature::encode(text.as_bytes())
}

/// Up to so many of these characters.
fn of_chars(random: &mut Random, chars: &str, most: u64) -> String {
    let chars: Vec<char> = chars.chars().collect();
    let pick =
        |random: &mut Random| chars[usize::try_from(random.below(chars.len() as u64)).expect("below its length")];
    (0..random.below(most + 1)).map(|_| pick(random)).collect()
}

fn digits(text: &str) -> Option<u128> {
    let fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.parse().unwrap_or(u128::MAX))
}

/// RFC 9110, section 14, for ten bytes: status and what is sent.
fn selected(header: &str) -> (u16, String) {
    let whole = (200, TEN.to_owned());
    let Some((unit, set)) = header.split_once('=') else { return whole };
    let Some((first, last)) = set.split_once('-') else { return whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return whole;
    }
    let (first, last) = match (digits(first), digits(last)) {
        (Some(first), Some(last)) => (first, last.min(9)),
        (Some(first), None) if last.is_empty() => (first, 9),
        (None, Some(0)) if first.is_empty() => return (416, String::new()),
        (None, Some(count)) if first.is_empty() => (10 - count.min(10), 9),
        _ => return whole,
    };
    if first > last || first > 9 {
        return (416, String::new());
    }
    let at = |number: u128| usize::try_from(number).expect("at most nine");
    (206, TEN[at(first)..=at(last)].to_owned())
}

/// The answers to ten more bytes with this range, where the session stands at ten; `None` for the one that fits.
fn chunk_statuses(header: &str) -> Option<&'static [u16]> {
    let numbers = header.split_once('-').and_then(|(first, last)| Some((digits(first)?, digits(last)?)));
    let numbers = numbers.filter(|(first, last)| *first.max(last) <= u128::from(u64::MAX));
    let Some((first, last)) = numbers else { return Some(&[400]) };
    if (first, last) == (10, 19) {
        None
    } else if first > last || last - first == 9 {
        Some(&[416])
    } else if first == 10 {
        Some(&[400])
    } else {
        // Wrong in two ways.
        Some(&[400, 416])
    }
}

/// Group G: scopes at random never give more than was asked and is allowed; a token with anything in it changed, or any
/// claim of another type, is no token.
#[tokio::test]
async fn scopes_and_tokens_at_random() {
    let stage = Stage::start().await;
    let mut random = Random::for_test("scopes_and_tokens_at_random");
    let mut judge = Judge::quick(&stage);
    let context = &mut Context::default();
    for _ in 0..soak::rounds(300, 10_000) {
        let scopes: Vec<String> = (0..=random.below(3)).map(|_| nearly_scope(&mut random)).collect();
        let asked = scopes.join(" ");
        let path = format!("GET /swr/auth/v2/registry/auth/?service=dockyard&scope={}", encoded(&asked));
        let ask = Request { actor: Actor::BasicAdmin, ..request(path, &[200, 401], &["DENIED"]) };
        let what = format!("token endpoint, scope {asked}");
        let Some(answer) = judge.ask(&what, &ask, context).await.filter(|answer| answer.status == 200) else {
            continue;
        };
        let json = answer.json().unwrap_or_default();
        let claims = claims_of(json["token"].as_str().unwrap_or_default());
        for entry in claims["access"].as_array().map_or(&[][..], Vec::as_slice) {
            let name = entry["name"].as_str().unwrap_or_default();
            for action in entry["actions"].as_array().map_or(&[][..], Vec::as_slice) {
                let action = action.as_str().unwrap_or_default();
                if !name.starts_with("t/") || !scopes.iter().any(|scope| asks(scope, name, action)) {
                    judge.problem(&what, &format!("{action} on {name} is granted"));
                }
            }
        }
    }
    for claim in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "principal", "access"] {
        for value in [json!(null), json!(true), json!(-1), json!(1.5), json!("x"), json!([]), json!({}), json!([null])]
        {
            // The name of the token and of its holder are for the log; without a holder it is nobody's.
            let harmless =
                (matches!(claim, "jti" | "sub") && value == "x") || (claim == "principal" && value.is_null());
            let claims = Some(json!({ claim: value }).to_string());
            let ask = request("GET /v2/t/app/manifests/v1".to_owned(), &[if harmless { 200 } else { 401 }], &[]);
            let token = Some(Forged { claims, ..Forged::default() });
            judge.ask(&format!("{claim} is {value}"), &Request { token, ..ask }, context).await;
        }
    }
    let token = stage.forge.token(&Forged::default());
    for position in (0..token.len()).step_by(5).chain([token.len() - 1]) {
        let mut changed = token.clone().into_bytes();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("it is ASCII");
        let ask = request("GET /v2/t/app/manifests/v1".to_owned(), &[401], &["UNAUTHORIZED"]);
        let headers = vec![format!("Authorization: Bearer {changed}")];
        judge.ask(&format!("byte {position}"), &Request { actor: Actor::Nobody, headers, ..ask }, context).await;
    }
    judge.finish().await;
}

fn nearly_scope(random: &mut Random) -> String {
    let pick = |random: &mut Random, some: &[&str]| {
        some[usize::try_from(random.below(some.len() as u64)).expect("below its length")].to_owned()
    };
    let kind = pick(random, &["repository", "repository", "repository(plugin)", "registry", "Repository", ""]);
    let names = ["t/app", "t/other", "t/new", "u/secret", "t", "t/*", "*", "T/app", "t/app/..", "host:5000/t/app", ""];
    let name = pick(random, &names);
    let actions = pick(random, &["pull", "pull,push", "push,delete", "*", "pull,fly", "", "PULL", "pull push"]);
    let joint = pick(random, &[":", ":", ":", "::", ""]);
    format!("{kind}:{name}{joint}{actions}")
}

/// Whether one of the scopes in a text asks for this, read as generously as can be.
fn asks(text: &str, name: &str, action: &str) -> bool {
    text.split(' ').any(|scope| {
        let actions = scope.rsplit(':').next().unwrap_or_default();
        scope.starts_with("repository")
            && scope.contains(&format!(":{name}:"))
            && actions.split(',').any(|word| word == action || word == "*")
    })
}
