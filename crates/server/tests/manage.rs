//! Every built operation of the management API against its published description: status, headers, every field and its
//! type. And what a caller gets for what it should not send (bad-inputs F, H, I).

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use common::{ACCESS_KEY, Answer, PASSWORD, Region, Request, SECRET_KEY};
use serde_json::{Value, json};

/// A region with one peer, which is never there.
const WITH_PEER: &str = r#"
    [replication]
    sync_wait_seconds = 0
    [[peer]]
    id = "cn-north-208"
    kind = "transship"
    url = "http://127.0.0.1:9"
    public_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
"#;
const REPOSITORY: &str = "/v2/manage/namespaces/group/repos/team$app";
/// Fields that the last page leaves out.
const OPTIONAL: [&str; 1] = ["nextMarker"];

fn send(region: &Region, method: &str, target: &str, body: &str) -> Answer {
    send_as(region, method, target, body, (ACCESS_KEY, SECRET_KEY))
}

fn send_as(region: &Region, method: &str, target: &str, body: &str, (access_key, secret_key): (&str, &str)) -> Answer {
    let request = Request { method, target, headers: &[("content-type", "application/json")], body };
    let signed = request.signed(region.address, access_key, secret_key);
    let mut headers = request.headers.to_vec();
    headers.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
    region.send(&Request { headers: &headers, ..request })
}

fn code(answer: &Answer) -> String {
    answer.json()["error_code"].as_str().unwrap_or_default().replace("SVCSTG.SWR.", "")
}

/// The published description, and which of its operations were asked.
struct Published {
    document: Value,
    asked: BTreeSet<String>,
}

impl Published {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/swr/operations.json");
        let document = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        Self { document, asked: BTreeSet::new() }
    }

    /// Asks an operation at this path and query, and holds its answer against the description.
    fn ask(&mut self, region: &Region, id: &str, target: &str, body: &Value) -> Answer {
        self.asked.insert(id.to_owned());
        let operations = self.document["operations"].as_array().unwrap();
        let operation = operations.iter().find(|operation| operation["id"] == id).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = send(region, operation["method"].as_str().unwrap(), target, &body);
        let statuses = operation["status_codes"].as_object().unwrap();
        let good = statuses.keys().find(|status| status.starts_with('2')).unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status.to_string(), *good, "{id} {target}: {text}");
        assert!(!answer.header("x-request-id").is_empty());
        for header in operation["response_headers"].as_array().unwrap() {
            assert!(!answer.header(header["name"].as_str().unwrap()).is_empty());
        }
        if good == "204" {
            assert_eq!(text, "", "{id}");
            return answer;
        }
        assert_eq!(answer.header("content-type"), "application/json", "{id}");
        match &operation["response_body"] {
            Value::Null => assert_eq!(text, "{}", "{id}"),
            described => self.check(id, described, &answer.json()),
        }
        answer
    }

    /// Holds a value against its description.
    fn check(&self, at: &str, described: &Value, value: &Value) {
        if let Some(model) = described["model"].as_str() {
            return self.check_fields(at, &self.document["models"][model]["fields"], value);
        }
        let fine = match described["type"].as_str().unwrap() {
            "object" => {
                self.check_fields(at, &described["fields"], value);
                value.is_object()
            }
            "array" => {
                let elements = value.as_array().unwrap_or_else(|| panic!("{at}: {value} is no array"));
                for element in elements {
                    self.check(at, &described["items"], element);
                }
                true
            }
            "map" => value.as_object().unwrap().values().all(|value| {
                self.check(at, &described["values"], value);
                true
            }),
            "integer" => value.as_i64().is_some_and(|number| described["format"] != "int32" || number < 1 << 31),
            "number" => value.is_f64(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string() || at.ends_with(".deleted") && value.is_null(),
            other => panic!("{at}: no such type {other}"),
        };
        assert!(fine, "{at}: {value} is not {described}");
        if let Some(allowed) = described["enum"].as_array() {
            assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
        }
        if value.is_string() && described["description"].as_str().is_some_and(|text| text.ends_with("time, UTC.")) {
            let text = value.as_str().unwrap();
            assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{at}: {text} is no time");
        }
    }

    fn check_fields(&self, at: &str, fields: &Value, value: &Value) {
        for field in fields.as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            let at = format!("{at}.{name}");
            match value.get(name) {
                Some(value) => self.check(&at, field, value),
                None => assert!(field["required"] == false || OPTIONAL.contains(&name), "{at} is not in {value}"),
            }
        }
    }
}

/// Pushes an image of one layer, tag by tag.
fn push(region: &Region, name: &str, tags: &[&str]) {
    let login = base64::engine::general_purpose::STANDARD.encode(format!("demo/admin:{PASSWORD}"));
    let login = format!("Basic {login}");
    let target = format!("/swr/auth/v2/registry/auth/?service=dockyard&scope=repository:{name}:pull,push");
    let headers = [("Authorization", login.as_str())];
    let token = region.send(&Request { target: &target, headers: &headers, ..Request::default() }).json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let write = |method: &str, target: &str, kind: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        let answer = region.send(&Request { method, target, headers: &headers, body });
        assert_eq!(answer.status, 201, "{target}: {}", String::from_utf8_lossy(&answer.body));
    };
    let blob = |kind: &str, content: &str| {
        let digest = format!("sha256:{}", transship_swr::signature::hash(content.as_bytes()));
        let target = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        write("POST", &target, "application/octet-stream", content);
        json!({ "mediaType": kind, "digest": digest, "size": content.len() })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", "{}"),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", "a layer")],
    });
    for tag in tags {
        let target = format!("/v2/{name}/manifests/{tag}");
        write("PUT", &target, "application/vnd.oci.image.manifest.v1+json", &manifest.to_string());
    }
}

#[test]
fn every_built_operation_keeps_to_its_published_description() {
    let region = Region::start(WITH_PEER);
    let bob = region.admin(&["user", "create", "--account", "demo", "--name", "bob"]);
    let mut published = Published::read();
    let mut ask = |id: &str, target: &str, body: Value| published.ask(&region, id, target, &body);
    let none = Value::Null;

    ask("ListApiVersions", "/", none.clone());
    ask("ShowApiVersion", "/v2", none.clone());
    ask("CreateNamespace", "/v2/manage/namespaces", json!({ "namespace": "group" }));
    ask("ShowNamespace", "/v2/manage/namespaces/group", none.clone());
    let namespaces = ask("ListNamespaces", "/v2/manage/namespaces?filter=mode::visible", none.clone()).json();
    assert_eq!(namespaces["namespaces"][0]["name"], "group");
    assert_eq!(namespaces["namespaces"][0]["auth"], 7);

    let access = "/v2/manage/namespaces/group/access";
    let grant = |level: i64| json!([{ "user_id": bob["id"], "user_name": "bob", "auth": level }]);
    ask("CreateNamespaceAuth", access, grant(1));
    ask("UpdateNamespaceAuth", access, grant(3));
    let shown = ask("ShowNamespaceAuth", access, none.clone()).json();
    assert_eq!(shown["others_auths"], grant(3));
    ask("DeleteNamespaceAuth", access, json!([bob["id"]]));

    let attributes = json!({ "repository": "team/app", "is_public": false, "category": "linux", "description": "d" });
    ask("CreateRepo", "/v2/manage/namespaces/group/repos", attributes);
    push(&region, "group/team/app", &["v1", "v2"]);
    let access = &format!("{REPOSITORY}/access");
    ask("CreateUserRepositoryAuth", access, grant(1));
    ask("UpdateUserRepositoryAuth", access, grant(7));
    let shown = ask("ShowUserRepositoryAuth", access, none.clone()).json();
    assert_eq!((&shown["name"], &shown["others_auths"]), (&json!("team/app"), &grant(7)));
    ask("DeleteUserRepositoryAuth", access, json!([bob["id"]]));

    ask("UpdateRepo", REPOSITORY, json!({ "is_public": true, "category": "arm" }));
    let shown = ask("ShowRepository", REPOSITORY, none.clone()).json();
    assert_eq!((&shown["num_images"], &shown["is_public"]), (&json!(2), &json!(true)));
    assert_eq!((&shown["category"], &shown["description"]), (&json!("arm"), &json!("d")));
    let host = region.address;
    assert_eq!(shown["path"], format!("{host}/group/team/app"));

    let listed =
        ask("ListReposDetails", "/v2/manage/repos?name=team&order_column=updated_at&order_type=desc", none.clone());
    assert_eq!(listed.header("content-range"), "0-1/1");
    assert_eq!(listed.json()[0]["tags"].as_array().unwrap().len(), 2);
    ask("CreateRepo", "/v2/manage/namespaces/group/repos", json!({ "repository": "b", "is_public": false }));
    let page = ask("ListRepoDetails", "/v3/manage/repos?limit=1", none.clone()).json();
    assert_eq!(page["repos"][0]["name"], "team/app");
    let target = format!("/v3/manage/repos?limit=1&marker={}", page["nextMarker"]);
    let page = ask("ListRepoDetails", &target, none.clone()).json();
    assert_eq!((&page["repos"][0]["name"], page.get("nextMarker")), (&json!("b"), None));

    let tags = &format!("{REPOSITORY}/tags");
    ask("CreateRepoTag", tags, json!({ "source_tag": "v1", "destination_tag": "v3" }));
    let listed = ask("ListRepositoryTags", &format!("{tags}?limit=2&offset=2"), none.clone());
    assert_eq!(listed.header("content-range"), "2-1/3");
    let v1 = ask("ShowRepoTag", &format!("{tags}/v1"), none.clone()).json();
    assert_eq!((&v1["tag"], &v1["schema"], &v1["tag_type"]), (&json!("v1"), &json!(2), &json!(0)));
    assert_eq!((&v1["size"], &v1["path"]), (&json!(7), &json!(format!("{host}/group/team/app:v1"))));
    assert_eq!(v1["image_id"], transship_swr::signature::hash(b"{}"));
    assert_eq!(
        v1["digest"],
        format!("sha256:{}", transship_swr::signature::hash(v1["manifest"].as_str().unwrap().as_bytes()))
    );
    let v3 = "/v3/manage/namespaces/group/repos/team/app/tags";
    let page = ask("ListRepositoryTag", &format!("{v3}?limit=2&with_manifest=True"), none.clone()).json();
    assert_eq!((&page["has_more"], &page["nextMarker"]), (&json!(true), &json!("v2")));
    assert_eq!(page["tags"][0]["manifest"], v1["manifest"]);
    let page = ask("ListRepositoryTag", &format!("{v3}?limit=2&marker=v2"), none.clone()).json();
    assert_eq!((&page["has_more"], page.get("nextMarker")), (&json!(false), None));
    assert_eq!((&page["tags"][0]["tag"], &page["tags"][0]["manifest"]), (&json!("v3"), &json!("")));
    ask("DeleteRepoTag", &format!("{tags}/v3"), none.clone());

    let sync = json!({ "imageTag": ["v1", "none"], "remoteRegionId": "cn-north-208", "remoteNamespace": "sdsad" });
    let listed = ask("CreateManualImageSyncRepo", &format!("{REPOSITORY}/sync_images"), sync).json();
    assert_eq!(listed, json!([]));
    let target = format!("{REPOSITORY}/sync_job?filter=limit::1%7Coffset::1%7Corder::asc");
    let jobs = ask("ShowSyncJob", &target, none.clone());
    assert_eq!((jobs.header("content-range"), &jobs.json()[0]["tag"]), ("1-1/2", &json!("none")));
    let regions = ask("ListSyncRegions", "/v2/manage/regions", none.clone()).json();
    assert_eq!(regions, json!([{ "regionID": "cn-north-208", "registryURL": "127.0.0.1:9" }]));

    let project = send(&region, "GET", "/v3/projects?name=cn-north-4", "").json()["projects"][0]["id"].clone();
    let project = format!("/v2/manage/projects/{}", project.as_str().unwrap());
    let quotas = ask("ListQuotas", &format!("{project}/quotas"), none.clone()).json();
    assert_eq!(quotas["quotas"], json!([{ "quota_key": "namespace", "quota_limit": 5, "used": 1, "unit": "" }]));
    let gates = ask("ShowShareFeatureGates", &format!("{project}/feature-gates"), none.clone()).json();
    assert_eq!((&gates["enable_image_sync"], &gates["enable_list_v3"]), (&json!(true), &json!(true)));
    let overview = ask("ShowDomainOverview", "/v2/manage/overview", none.clone()).json();
    assert_eq!((&overview["namspace_num"], &overview["image_num"]), (&json!(1), &json!(2)));

    let agency = ask("CheckAgency", "/v2/manage/agency", none.clone()).json();
    assert_eq!((&agency["domain_id"], &agency["is_agency"]), (&overview["domain_id"], &json!(false)));

    let secret = ask("CreateSecret", "/v2/manage/utils/secret?projectname=cn-north-4&duration_seconds=900", json!({}));
    let login = &secret.json()["auths"][host.to_string()]["auth"];
    let login = base64::engine::general_purpose::STANDARD.decode(login.as_str().unwrap()).unwrap();
    let login = String::from_utf8(login).unwrap();
    let (user, password) = login.split_once(':').unwrap();
    assert!(user.starts_with("cn-north-4@"), "{user}");
    assert_eq!(secret.header("x-swr-dockerlogin"), format!("docker login -u {user} -p {password} {host}"));

    ask("DeleteRepo", REPOSITORY, none.clone());
    ask("DeleteRepo", "/v2/manage/namespaces/group/repos/b", none.clone());
    ask("DeleteNamespaces", "/v2/manage/namespaces/group", none);

    // Whatever is not built says so in the same way; nothing that is built was left out here.
    for operation in published.document["operations"].as_array().unwrap() {
        let (id, method) = (operation["id"].as_str().unwrap(), operation["method"].as_str().unwrap());
        if !published.asked.contains(id) {
            let answer = send(&region, method, &operation["path"].as_str().unwrap().replace(['{', '}'], ""), "{}");
            assert_eq!((answer.status, code(&answer).as_str()), (404, "4040083"), "{id}");
        }
    }
}

#[test]
fn the_description_is_served_to_everybody() {
    let region = Region::start("");
    let answer = region.get("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    assert_eq!(String::from_utf8(answer.body.clone()).unwrap(), std::fs::read_to_string(document).unwrap());
    let other = region.send(&Request { method: "POST", target: "/openapi.json", ..Request::default() });
    assert_eq!((other.status, code(&other).as_str()), (404, "4040083"));
}

#[test]
fn what_should_not_be_sent_has_its_code_and_changes_nothing() {
    let region = Region::start("");
    send(&region, "POST", "/v2/manage/namespaces", r#"{"namespace":"group"}"#);
    let create = r#"{"repository":"team/app","is_public":false}"#;
    assert_eq!(send(&region, "POST", "/v2/manage/namespaces/group/repos", create).status, 200);
    let me = send(&region, "GET", "/v2/manage/namespaces/group/access", "").json()["self_auth"]["user_id"].clone();
    let own_grant = format!(r#"[{{"user_id":{me},"user_name":"admin","auth":7}}]"#);
    let (repos, repo, access) = ("/v2/manage/namespaces/group/repos", REPOSITORY, "/v2/manage/namespaces/group/access");
    let tags = &format!("{REPOSITORY}/tags");
    let jobs = |filter: &str| format!("{REPOSITORY}/sync_job?{filter}");
    let long = format!(r#"{{"namespace":"{}"}}"#, "a".repeat(2 << 20));
    let cases: Vec<(&str, &str, &str, &str)> = vec![
        // Paths.
        ("GET", "/v2/manage/nothing", "", "4040083"),
        ("PUT", "/v2/manage/namespaces", "{}", "4040083"),
        ("GET", "/v9", "", "4040083"),
        ("GET", "/v2/manage/namespaces/", "", "4001028"),
        ("DELETE", "/v2/manage/namespaces/%7Bnamespace%7D", "", "4001028"),
        ("POST", "/v2/manage/namespaces//repos//sync_images", "{}", "4001028"),
        ("GET", "/v2/manage/namespaces/group/repos/a%252Fb", "", "4001029"),
        ("GET", "/v2/manage/namespaces/group/repos/$..$", "", "4001029"),
        ("GET", "/v2/manage/namespaces/absent", "", "4040058"),
        ("GET", "/v2/manage/namespaces/group/repos/absent", "", "4040113"),
        ("GET", "/v2/manage/namespaces/group/repos/team/app/tags/absent", "", "4040115"),
        ("GET", "/v2/manage/projects/00000000000000000000000000000000/quotas", "", "4030170"),
        // Bodies.
        ("POST", "/v2/manage/namespaces", r#"{"namespace":"group"}"#, "4090060"),
        ("POST", "/v2/manage/namespaces", r#"{"namespace":"manage"}"#, "4001028"),
        ("POST", "/v2/manage/namespaces", r#"{"namespace":"Group"}"#, "4001028"),
        ("POST", "/v2/manage/namespaces", r#"{"namespace":"x","namespace":"y"}"#, "4000014"),
        ("POST", "/v2/manage/namespaces", "{}", "4001014"),
        ("POST", "/v2/manage/namespaces", "{", "4001018"),
        ("POST", "/v2/manage/namespaces", &long, "4131001"),
        ("DELETE", "/v2/manage/namespaces/group", "", "4060074"),
        ("POST", repos, create, "4090006"),
        ("POST", repos, r#"{"repository":"x","is_public":"true"}"#, "4001009"),
        ("POST", repos, r#"{"repository":"x","is_public":true,"category":"toys"}"#, "4000014"),
        ("POST", repos, r#"{"repository":"x","is_public":true,"description":"\u0000"}"#, "4000014"),
        ("PATCH", repo, r#"{"category":"linux"}"#, "4001009"),
        ("POST", tags, r#"{"source_tag":"absent","destination_tag":"x"}"#, "4040115"),
        ("POST", tags, r#"{"source_tag":"a/b","destination_tag":"x"}"#, "4009021"),
        ("POST", access, r#"[{"user_id":"u","user_name":"n","auth":"7"}]"#, "4001065"),
        ("POST", access, r#"[{"user_id":"u","user_name":"n","auth":8}]"#, "4001065"),
        ("POST", access, r#"[{"user_id":"u","user_name":"n","auth":1}]"#, "4001067"),
        ("POST", access, r#"[{"user_id":"\u0000","user_name":"n","auth":1}]"#, "4001067"),
        ("PATCH", access, &own_grant, "4030170"),
        ("DELETE", access, "", "4001014"),
        ("DELETE", access, "[]", "4001014"),
        // Queries.
        ("GET", "/v2/manage/repos?limit=-1", "", "4000056"),
        ("GET", "/v2/manage/repos?offset=9223372036854775808", "", "4000056"),
        ("GET", "/v2/manage/repos?order_column=name", "", "4001096"),
        ("GET", "/v2/manage/repos?order_column=name;drop&order_type=asc", "", "4001096"),
        ("GET", "/v2/manage/repos?filter=password=~a", "", "4001035"),
        ("GET", "/v2/manage/repos?name=a%00b", "", "4001025"),
        ("GET", "/v3/manage/repos?is_public=perhaps", "", "4001025"),
        ("GET", "/v3/manage/repos?marker=x", "", "4001025"),
        ("POST", "/v2/manage/utils/secret?projectname=cn-north-5", "", "4001025"),
        ("POST", "/v2/manage/utils/secret?duration_seconds=5", "", "4001025"),
    ];
    let mut cases: Vec<(String, String, String, String)> = cases
        .into_iter()
        .map(|(method, target, body, code)| (method.into(), target.into(), body.into(), code.into()))
        .collect();
    for (filter, code) in [
        ("", "4001014"),
        ("limit=10&offset=0", "4001014"),
        ("filter=limit::10", "4001014"),
        ("filter=limit::10%7Coffset::x", "4000056"),
        ("filter=limit:10", "4001035"),
        ("filter=limit::10%7Coffset::0%7Corder::up", "4001025"),
    ] {
        cases.push(("GET".to_owned(), jobs(filter), String::new(), code.to_owned()));
    }
    for (method, target, body, expected) in cases {
        let answer = send(&region, &method, &target, &body);
        let shown: String = body.chars().take(100).collect();
        assert_eq!(code(&answer), expected, "{method} {target} {shown}: {answer:?}");
        assert_eq!(answer.status.to_string(), expected[..3], "{method} {target} {shown}");
        let errors = &answer.json()["errors"][0];
        assert_eq!(errors["errorCode"], format!("SVCSTG.SWR.{expected}"));
        assert_eq!(errors["errorMessage"], answer.json()["error_msg"]);
    }
    let listed = send(&region, "GET", "/v2/manage/repos?offset=1000", "");
    assert_eq!((listed.status, listed.header("content-range"), listed.json()), (200, "1000-0/1", json!([])));
    let namespaces = send(&region, "GET", "/v2/manage/namespaces", "").json();
    assert_eq!(namespaces["namespaces"].as_array().unwrap().len(), 1);
}

#[test]
fn another_account_sees_only_what_is_public_and_whose_it_is() {
    let region = Region::start("");
    region.admin(&["account", "create", "--name", "other"]);
    region.admin(&["user", "create", "--account", "other", "--name", "eve", "--admin"]);
    let key = region.admin(&["access-key", "create", "--account", "other", "--user", "eve"]);
    let key = (key["access_key"].as_str().unwrap(), key["secret_key"].as_str().unwrap());
    send(&region, "POST", "/v2/manage/namespaces", r#"{"namespace":"group"}"#);
    push(&region, "group/team/app", &["v1"]);
    let tag = &format!("{REPOSITORY}/tags/v1");

    assert_eq!(code(&send_as(&region, "POST", "/v2/manage/namespaces", r#"{"namespace":"group"}"#, key)), "4090060");
    for (method, target) in [("GET", REPOSITORY), ("GET", tag), ("DELETE", tag), ("GET", "/v2/manage/namespaces/group")]
    {
        assert_eq!(code(&send_as(&region, method, target, "", key)), "4030170", "{method} {target}");
    }
    assert_eq!(send(&region, "PATCH", REPOSITORY, r#"{"is_public":true}"#).status, 201);
    let shown = send_as(&region, "GET", tag, "", key).json();
    let owner = send(&region, "GET", REPOSITORY, "").json()["domain_id"].clone();
    assert_eq!(shown["domain_id"], owner);
    assert_eq!(code(&send_as(&region, "DELETE", tag, "", key)), "4030170");
    assert_eq!(send_as(&region, "GET", "/v2/manage/repos", "", key).json(), json!([]));
}
