//! IAM and the two kinds of credentials, against a running region (contract 7; bad-inputs H).

mod common;

use common::{ACCESS_KEY, Answer, PASSWORD, Region, Request, SECRET_KEY};
use serde_json::{Value, json};

fn login_body(account: &str, user: &str, password: &str, scope: Option<Value>) -> String {
    let mut body = json!({ "auth": { "identity": { "methods": ["password"], "password": {
        "user": { "domain": { "name": account }, "name": user, "password": password } } } } });
    if let Some(scope) = scope {
        body["auth"]["scope"] = scope;
    }
    body.to_string()
}

fn post_login(region: &Region, body: &str) -> Answer {
    let headers = [("Content-Type", "application/json")];
    region.send(&Request { method: "POST", target: "/v3/auth/tokens?nocatalog=true", headers: &headers, body })
}

fn token(region: &Region) -> String {
    let answer = post_login(region, &login_body("demo", "admin", PASSWORD, None));
    assert_eq!(answer.status, 201);
    answer.header("x-subject-token").to_owned()
}

fn get_signed(region: &Region, target: &str, more: &[(&str, &str)], access_key: &str, secret_key: &str) -> Answer {
    let request = Request { target, headers: more, ..Request::default() };
    let signed = request.signed(region.address, access_key, secret_key);
    let mut headers = more.to_vec();
    headers.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
    region.send(&Request { target, headers: &headers, ..Request::default() })
}

fn get_with_token(region: &Region, target: &str, token: &str) -> Answer {
    region.send(&Request { target, headers: &[("X-Auth-Token", token)], ..Request::default() })
}

#[test]
fn a_password_becomes_a_token_that_opens_what_it_is_for() {
    let region = Region::start("");
    for scope in [
        None,
        Some(json!({ "project": { "name": "cn-north-4" } })),
        Some(json!({ "project": { "name": "cn-north-4", "domain": { "name": "demo" } } })),
    ] {
        let answer = post_login(&region, &login_body("demo", "admin", PASSWORD, scope));
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("x-iam-trace-id"), answer.header("x-request-id"));
        let token = &answer.json()["token"];
        assert_eq!(token["methods"], json!(["password"]));
        assert_eq!(token["user"]["name"], "admin");
        assert_eq!(token["user"]["domain"]["name"], "demo");
        assert_eq!(token["project"]["name"], "cn-north-4");
        assert_eq!(token["project"]["id"].as_str().unwrap().len(), 32);
        for time in ["issued_at", "expires_at"] {
            token[time].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        }
        let listed = get_with_token(&region, "/v3/projects?name=cn-north-4", answer.header("x-subject-token"));
        assert_eq!(listed.json()["projects"][0]["id"], token["project"]["id"]);
    }
    let domain = Some(json!({ "domain": { "name": "demo" } }));
    let answer = post_login(&region, &login_body("demo", "admin", PASSWORD, domain));
    assert_eq!((answer.status, &answer.json()["token"]["domain"]["name"]), (201, &json!("demo")));
    assert!(answer.json()["token"].get("project").is_none());
}

/// An account may be named by its id, which says no more than its name when it is wrong.
#[test]
fn an_account_may_be_named_by_its_id() {
    let region = Region::start("");
    let by_name = post_login(&region, &login_body("demo", "admin", PASSWORD, None));
    let domain = by_name.json()["token"]["user"]["domain"].clone();
    let by_id = |id: &str, password| {
        let named = json!({ "domain": { "id": id } })["domain"].to_string();
        let body = login_body("demo", "admin", password, None).replace(r#"{"name":"demo"}"#, &named);
        post_login(&region, &body)
    };
    let id = domain["id"].as_str().unwrap();
    let answer = by_id(id, PASSWORD);
    assert_eq!((answer.status, &answer.json()["token"]["user"]["domain"]), (201, &domain));
    let wrong = by_id(id, "another password");
    let unknown = by_id(&"0".repeat(32), PASSWORD);
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.json(), unknown.json());
}

#[test]
fn logins_that_prove_nothing_are_refused_in_the_form_of_iam() {
    let region = Region::start("");
    let login = |account, user, password| login_body(account, user, password, None);
    let scoped = |scope: Value| login_body("demo", "admin", PASSWORD, Some(scope));
    let methods = |methods: Value| login("demo", "admin", PASSWORD).replace("[\"password\"]", &methods.to_string());
    let large = format!("{{\"auth\":\"{}\"}}", "x".repeat(1 << 20));
    let nested = format!("{{\"auth\":{}", "[".repeat(10_000));
    for (body, status) in [
        (login("demo", "admin", "wrong"), 401),
        (login("demo", "nobody", PASSWORD), 401),
        (login("nobody", "admin", PASSWORD), 401),
        (login("demo", "admin", ""), 401),
        (methods(json!(["token"])), 401),
        (methods(json!(["password", "totp"])), 401),
        (methods(json!([])), 400),
        (methods(json!("password")), 400),
        (scoped(json!({ "project": { "name": "cn-north-9" } })), 404),
        (scoped(json!({ "project": { "id": "0123456789abcdef0123456789abcdef" } })), 404),
        (scoped(json!({ "project": { "name": "cn-north-4", "domain": { "name": "other" } } })), 403),
        (scoped(json!({ "domain": { "name": "other" } })), 403),
        (scoped(json!({ "domain": {} })), 400),
        (scoped(json!({ "domain": { "name": "demo" }, "project": { "name": "cn-north-4" } })), 400),
        (String::new(), 400),
        ("{}".to_owned(), 400),
        ("{\"auth\":{\"identity\":{}}}".to_owned(), 400),
        ("[[[[".to_owned(), 400),
        (large, 400),
        (nested, 400),
    ] {
        let answer = post_login(&region, &body);
        let shown: String = body.chars().take(200).collect();
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], status, "{shown}");
        assert!(error["message"].is_string() && error["title"].is_string());
        assert!(answer.headers.get("x-subject-token").is_none());
    }
    let same = |account, user| post_login(&region, &login(account, user, "wrong")).body;
    assert_eq!(same("demo", "admin"), same("demo", "nobody"));
    assert_eq!(same("demo", "admin"), same("nobody", "admin"));
}

#[test]
fn projects_are_found_by_name_with_a_signature_or_a_token() {
    let region = Region::start("");
    let found = get_signed(&region, "/v3/projects?name=cn-north-4", &[], ACCESS_KEY, SECRET_KEY);
    assert_eq!(found.status, 200);
    let projects = found.json()["projects"].clone();
    assert_eq!((projects.as_array().unwrap().len(), &projects[0]["name"]), (1, &json!("cn-north-4")));
    let none = get_signed(&region, "/v3/projects?name=cn-north-9", &[], ACCESS_KEY, SECRET_KEY);
    assert_eq!((none.status, &none.json()["projects"]), (200, &json!([])));
    let domains = get_signed(&region, "/v3/auth/domains", &[], ACCESS_KEY, SECRET_KEY);
    assert_eq!(domains.json()["domains"][0]["name"], "demo");

    let own = projects[0]["id"].as_str().unwrap();
    let fine = get_signed(&region, "/v3/projects", &[("X-Project-Id", own)], ACCESS_KEY, SECRET_KEY);
    assert_eq!(fine.status, 200);
    let foreign = [("X-Project-Id", "0123456789abcdef0123456789abcdef")];
    assert_eq!(get_signed(&region, "/v3/projects", &foreign, ACCESS_KEY, SECRET_KEY).status, 403);
    let foreign = [("X-Domain-Id", "0123456789abcdef0123456789abcdef")];
    assert_eq!(get_signed(&region, "/v3/projects", &foreign, ACCESS_KEY, SECRET_KEY).status, 403);

    let token = token(&region);
    assert_eq!(get_with_token(&region, "/v3/projects", &token).status, 200);
    let both = [("X-Auth-Token", token.as_str())];
    assert_eq!(get_signed(&region, "/v3/projects", &both, ACCESS_KEY, SECRET_KEY).status, 401);
    assert_eq!(region.get("/v3/projects").status, 401);
    assert_eq!(get_with_token(&region, "/v3/projects", "garbage").status, 401);
    assert_eq!(get_with_token(&region, "/v3/nonsense", &token).status, 404);
}

#[test]
fn a_signature_covers_what_was_sent() {
    let region = Region::start("");
    let target = "/v3/projects?name=cn-north-4";
    let unknown = get_signed(&region, target, &[], "EXAMPLEACCESSKEY0002", SECRET_KEY);
    let wrong = get_signed(&region, target, &[], ACCESS_KEY, "another secret");
    for answer in [&unknown, &wrong] {
        assert_eq!((answer.status, &answer.json()["error_code"]), (401, &json!("APIGW.0301")));
    }
    let text = wrong.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        text.contains("verify aksk signature fail") && text.contains("GET|/v3/projects/|name=cn-north-4|"),
        "{text}"
    );

    let signed = Request { target, ..Request::default() }.signed(region.address, ACCESS_KEY, SECRET_KEY);
    let headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let send = |method, target, body| region.send(&Request { method, target, headers: &headers, body }).status;
    assert_eq!(send("GET", target, ""), 200);
    assert_eq!(send("HEAD", target, ""), 401);
    assert_eq!(send("GET", "/v3/projects?name=cn-north-5", ""), 401);
    assert_eq!(send("GET", "/v3/auth/domains?name=cn-north-4", ""), 401);
    assert_eq!(send("GET", target, "{}"), 401);
}

#[test]
fn users_are_seen_by_their_own_account_only() {
    let region = Region::start("");
    region.admin(&["account", "create", "--name", "other"]);
    let stranger = region.admin(&["user", "create", "--account", "other", "--name", "eve"]);
    let friend = region.admin(&["user", "create", "--account", "demo", "--name", "bob"]);
    let token = token(&region);
    let users = get_with_token(&region, "/v3/users?name=bob", &token).json();
    assert_eq!((&users["users"][0]["id"], users["users"].as_array().unwrap().len()), (&friend["id"], 1));
    assert_eq!(get_with_token(&region, "/v3/users?name=eve", &token).json()["users"], json!([]));
    let show = |user: &Value| {
        get_with_token(&region, &format!("/v3.0/OS-USER/users/{}", user["id"].as_str().unwrap()), &token)
    };
    let shown = show(&friend).json();
    assert_eq!((&shown["user"]["name"], &shown["user"]["enabled"]), (&json!("bob"), &json!(true)));
    let absent = get_with_token(&region, "/v3.0/OS-USER/users/nobody", &token);
    let foreign = show(&stranger);
    assert_eq!((foreign.status, &foreign.body), (404, &absent.body));
}

#[test]
fn what_is_switched_off_opens_nothing() {
    let region = Region::start("");
    let user = ["--account", "demo", "--name", "bob"];
    std::fs::write(region.directory.path().join("pw"), "first\n").unwrap();
    std::fs::write(region.directory.path().join("pw2"), "second\n").unwrap();
    std::fs::write(region.directory.path().join("sk"), "givensecret\n").unwrap();
    let admin = |command: &[&str], more: &[&str]| region.admin(&[command, &user, more].concat());
    admin(&["user", "create"], &["--password-file", "pw"]);
    let login = |password: &str| post_login(&region, &login_body("demo", "bob", password, None));
    let with_key =
        |access_key: &str, secret_key: &str| get_signed(&region, "/v3/projects", &[], access_key, secret_key).status;

    // A key that is given, and one that is made.
    let given = [
        "access-key",
        "create",
        "--account",
        "demo",
        "--user",
        "bob",
        "--access-key",
        "BOBKEY",
        "--secret-key-file",
        "sk",
    ];
    assert_eq!(region.admin(&given)["access_key"], "BOBKEY");
    assert_eq!(with_key("BOBKEY", "givensecret"), 200);
    let made = region.admin(&["access-key", "create", "--account", "demo", "--user", "bob"]);
    let (access_key, secret_key) = (made["access_key"].as_str().unwrap(), made["secret_key"].as_str().unwrap());
    assert_eq!(with_key(access_key, secret_key), 200);

    let rotated = region.admin(&["access-key", "rotate", "--access-key", access_key]);
    assert_eq!(with_key(access_key, secret_key), 401);
    assert_eq!(with_key(access_key, rotated["secret_key"].as_str().unwrap()), 200);
    region.admin(&["access-key", "disable", "--access-key", "BOBKEY"]);
    assert_eq!(with_key("BOBKEY", "givensecret"), 401);
    region.admin(&["access-key", "enable", "--access-key", "BOBKEY"]);
    assert_eq!(with_key("BOBKEY", "givensecret"), 200);

    let token = login("first").header("x-subject-token").to_owned();
    assert_eq!(get_with_token(&region, "/v3/projects", &token).status, 200);
    admin(&["user", "set-password"], &["--password-file", "pw2"]);
    assert_eq!(login("first").status, 401);
    assert_eq!(login("second").status, 201);
    let withdrawn = get_with_token(&region, "/v3/projects", &token);
    assert!(withdrawn.status == 401 && withdrawn.json()["error"]["message"].as_str().unwrap().contains("withdrawn"));

    admin(&["user", "disable"], &[]);
    assert_eq!(login("second").status, 401);
    assert_eq!(with_key("BOBKEY", "givensecret"), 401);
    admin(&["user", "enable"], &[]);
    assert_eq!(with_key("BOBKEY", "givensecret"), 200);

    let listed = region.admin(&["access-key", "list", "--account", "demo", "--user", "bob"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains("givensecret"));
    let users = region.admin(&["user", "list", "--account", "demo"]);
    assert_eq!(users.as_array().unwrap().len(), 2);
    assert_eq!(region.admin(&["account", "list"]).as_array().unwrap().len(), 1);
}
