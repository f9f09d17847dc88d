//! Token logins, challenges, and what a region says before anybody has logged in. Numbers are those of
//! docs/quality/registry-protocol.md, "what the suite does not test".

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::random::Random;
use transship_tests::region::ACCOUNT;
use transship_tests::registry::{login_of, parameter};
use transship_tests::signature;
use transship_tests::single::{APP, Single, code};

const TOKEN: &str = "/swr/auth/v2/registry/auth/";

fn with_login(request: RequestBuilder, (user, password): &(String, String)) -> RequestBuilder {
    request.header("Authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// A question to the token endpoint as older clients ask it.
fn by_get(single: &Single, query: &str) -> RequestBuilder {
    single.request(Method::GET, &format!("{TOKEN}?service=dockyard{query}"))
}

/// A question to the token endpoint as `OAuth2` asks it.
async fn by_post(single: &Single, fields: &[(&str, &str)]) -> Reply {
    let encode = |text: &str| signature::encode(text.as_bytes());
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let post = single.request(Method::POST, TOKEN).header("Content-Type", "application/x-www-form-urlencoded");
    http::send(post.body(body.join("&"))).await
}

/// What a token says of itself.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("JSON")
}

fn access(reply: &Reply) -> Value {
    claims(reply.json()["token"].as_str().expect("a token"))["access"].clone()
}

/// 27, 31, 32, 33: the ping always asks for a login, whatever is public, and each refusal says what would do.
#[tokio::test]
async fn challenges() {
    let single = Single::start().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    single.registry().push("group/public", "v1", &image).await;
    single.publish("public").await;
    let realm = format!("{}{TOKEN}", single.region.url());
    let ping = http::send(single.request(Method::GET, "/v2/").header("Host", "evil.example")).await.expect(401);
    assert_eq!(code(&ping), "UNAUTHORIZED");
    assert_eq!(ping.header("docker-distribution-api-version"), Some("registry/2.0"));
    let challenge = format!("Bearer realm=\"{realm}\",service=\"dockyard\"");
    assert_eq!(ping.header("www-authenticate"), Some(challenge.as_str()));
    // 27: without the slash it is the version of the management API, which is there too (contract 5.9).
    assert_ne!(http::send(single.request(Method::GET, "/v2")).await.status, 404);

    for (method, path, scope) in [
        (Method::GET, "/v2/group/public/manifests/v1", "repository:group/public:pull"),
        (Method::HEAD, "/v2/group/none/manifests/v1", "repository:group/none:pull"),
        (Method::PUT, "/v2/group/public/manifests/v1", "repository:group/public:pull,push"),
        (Method::POST, "/v2/group/public/blobs/uploads/", "repository:group/public:pull,push"),
        (Method::DELETE, "/v2/group/public/manifests/v1", "repository:group/public:delete"),
    ] {
        let reply = http::send(single.request(method.clone(), path)).await.expect(401);
        let challenge = reply.header("www-authenticate").expect("a challenge");
        assert_eq!(parameter(challenge, "scope").as_deref(), Some(scope), "{method} {path}");
        assert_eq!(parameter(challenge, "realm").as_deref(), Some(realm.as_str()));
        assert_eq!(reply.headers.get_all("www-authenticate").iter().count(), 1);
    }
    // A token for less than is needed.
    let token = single.registry().ask_token("repository:group/public:pull").await.expect(200).json();
    let put =
        single.request(Method::PUT, "/v2/group/public/manifests/v2").bearer_auth(token["token"].as_str().unwrap());
    let reply = http::send(put.body(image.raw.clone())).await.expect(401);
    assert_eq!(code(&reply), "DENIED");
    let challenge = reply.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert_eq!(parameter(challenge, "error").as_deref(), Some("insufficient_scope"));
    assert_eq!(parameter(challenge, "scope").as_deref(), Some("repository:group/public:pull,push"));
    // Something that is no token at all.
    let get = single.request(Method::GET, "/v2/group/public/manifests/v1").bearer_auth("abc");
    let reply = http::send(get).await.expect(401);
    let challenge = reply.header("www-authenticate").expect("a challenge");
    assert_eq!(parameter(challenge, "error").as_deref(), Some("invalid_token"));
    // bad-inputs 94: a private repository and none at all look the same.
    single.registry().push("group/private", "v1", &image).await;
    let hidden = http::send(single.request(Method::HEAD, "/v2/group/private/manifests/v1")).await.expect(401);
    let absent = http::send(single.request(Method::HEAD, "/v2/group/privatf/manifests/v1")).await.expect(401);
    let challenge =
        |reply: &Reply| reply.header("www-authenticate").expect("a challenge").replace("privatf", "private");
    assert_eq!(challenge(&hidden), challenge(&absent));
}

/// 34, 35, 36, 37, 40, 41: what is asked for, what is given, and by which login.
#[tokio::test]
async fn tokens_by_get() {
    let reader = User::named("reader");
    let single = Single::start_with(&[], &[&reader]).await;
    let login = login_of(single.region.id(), &single.admin);
    let get = async |query: &str| http::send(with_login(by_get(&single, query), &login)).await;
    let entry = |name: &str, actions: &[&str]| json!({"type": "repository", "name": name, "actions": actions});
    let both = json!([entry("group/a", &["pull", "push"]), entry("group/b", &["pull"])]);
    for query in [
        "&scope=repository:group/a:pull,push&scope=repository:group/b:pull",
        "&scope=repository:group/a:pull,push%20repository:group/b:pull&account=somebody&client_id=docker",
        "&scope=repository:group/a:push,pull,frobnicate%20%20repository(plugin):group/b:pull",
        "&scope=repository:group/a:pull,push&scope=repository:group/b:pull&scope=teapot:x:pull&scope=&scope=abc",
    ] {
        assert_eq!(access(&get(query).await.expect(200)), both, "{query}");
    }
    let all = access(&get("&scope=repository:group/a:*").await.expect(200));
    assert_eq!(all, json!([entry("group/a", &["pull", "push", "delete"])]));
    let reply = get("").await.expect(200);
    assert_eq!(access(&reply), json!([]), "docker login asks for nothing");
    let answer = reply.json();
    assert_eq!(answer["token"], answer["access_token"]);
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60), "{answer}");
    let issued_at = answer["issued_at"].as_str().expect("a time");
    assert!(issued_at.parse::<jiff::Timestamp>().is_ok() && issued_at.ends_with('Z'), "{issued_at}");
    assert_eq!(answer.get("refresh_token"), None, "nobody asked");
    // 36: a name with a port, and far too many scopes.
    assert_eq!(access(&get("&scope=repository:localhost:5000/a:pull").await.expect(200)), json!([]));
    let many: Vec<String> = (0..200).map(|n| format!("&scope=repository:group/r{n}:pull")).collect();
    let given = access(&get(&many.concat()).await.expect(200)).as_array().map_or(0, Vec::len);
    assert!((2..=64).contains(&given), "{given} scopes");

    // 35: less than asked for is no error.
    let theirs = login_of(single.region.id(), &reader);
    let reply = http::send(with_login(by_get(&single, "&scope=repository:group/a:pull,push"), &theirs)).await;
    assert_eq!(access(&reply.expect(200)), json!([]));
    let reply = http::send(by_get(&single, "&scope=repository:group/a:pull")).await.expect(200);
    let told = claims(reply.json()["token"].as_str().expect("a token"));
    assert_eq!((&told["sub"], &told["access"]), (&json!(""), &json!([])), "anonymous");

    // 34, 40: a wrong password is never an anonymous token. 41: each kind of login has its own.
    let password = single.admin.password.clone();
    let key_password = login.1.clone();
    for (user, password) in [
        ("admin".to_owned(), password.clone()),
        (format!("{ACCOUNT}/admin"), password.clone()),
        (login.0.clone(), key_password.clone()),
        (login.0.clone(), key_password.to_uppercase()),
    ] {
        http::send(with_login(by_get(&single, ""), &(user, password))).await.expect(200);
    }
    for (user, password) in [
        ("admin", "wrong"),
        ("admin", ""),
        ("", ""),
        ("nobody", &password),
        ("admin", &key_password),
        (&login.0, &password),
        (&format!("other-region@{}", single.admin.access_key), &key_password),
    ] {
        let reply = http::send(with_login(by_get(&single, ""), &(user.to_owned(), password.to_owned()))).await;
        assert_eq!(reply.status, 401, "{user}: {}", reply.text());
        assert!(reply.json().get("token").is_none());
    }
    let reply = http::send(by_get(&single, "").header("Authorization", "Bearer abc")).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    let other = single.request(Method::GET, &format!("{TOKEN}?service=elsewhere"));
    http::send(with_login(other, &login)).await.expect(400);
}

/// 38: `OAuth2` with a password, and with the refresh token that a client keeps instead.
#[tokio::test]
async fn tokens_by_post() {
    let single = Single::start().await;
    let (user, password) = login_of(single.region.id(), &single.admin);
    let scope = "repository:group/a:pull,push repository:group/b:pull";
    let base = [("service", "dockyard"), ("client_id", "test"), ("scope", scope)];
    let form = async |more: &[(&str, &str)]| by_post(&single, &[&base[..], more].concat()).await;
    let by_password = [("grant_type", "password"), ("username", user.as_str()), ("password", password.as_str())];
    let answer = form(&by_password).await.expect(200).json();
    assert_eq!(answer["scope"], json!(scope));
    assert!(answer["access_token"].is_string() && answer["expires_in"].is_u64(), "{answer}");
    assert_eq!(answer.get("refresh_token"), None);
    let answer = form(&[&by_password[..], &[("access_type", "offline")]].concat()).await.expect(200).json();
    let refresh = answer["refresh_token"].as_str().expect("a refresh token").to_owned();
    // The same by GET, as `docker login` asks.
    let get = with_login(by_get(&single, "&offline_token=true"), &(user.clone(), password.clone()));
    let told = http::send(get).await.expect(200).json();
    assert!(told["refresh_token"].is_string(), "{told}");
    let get = by_get(&single, "&offline_token=true");
    assert_eq!(http::send(get).await.expect(200).json().get("refresh_token"), None, "nobody keeps being nobody");

    let answer = form(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await.expect(200).json();
    let token = answer["access_token"].as_str().expect("a token");
    assert_eq!(claims(token)["access"].as_array().map(Vec::len), Some(2));
    let post = single.request(Method::POST, "/v2/group/a/blobs/uploads/").bearer_auth(token);
    http::send(post.header("Content-Length", "0")).await.expect(202);
    // 39: it opens nothing itself, and no other token refreshes.
    let ping = single.request(Method::GET, "/v2/").bearer_auth(&refresh);
    http::send(ping).await.expect(401);
    for bad in [token, "abc", ""] {
        let reply = form(&[("grant_type", "refresh_token"), ("refresh_token", bad)]).await;
        assert_eq!((reply.status, code(&reply).as_str()), (401, "UNAUTHORIZED"), "{bad}");
    }
    let wrong = [("grant_type", "password"), ("username", user.as_str()), ("password", "wrong")];
    form(&wrong).await.expect(401);
    for (fields, error) in [
        (&[][..], "invalid_request"),
        (&[("grant_type", "refresh_token")][..], "invalid_request"),
        (&[("grant_type", "password"), ("username", "admin")][..], "invalid_request"),
        (&[("grant_type", "authorization_code")][..], "unsupported_grant_type"),
    ] {
        assert_eq!(form(fields).await.expect(400).json(), json!({"error": error}));
    }
    let put = single.request(Method::PUT, TOKEN);
    http::send(put).await.expect(405);
}

/// 39: only a token that this region has signed, for this service, in its time.
#[tokio::test]
async fn forged_tokens() {
    let single = Single::start().await;
    let token = single.registry().ask_token("repository:group/a:pull,push").await.expect(200).json();
    let token = token["token"].as_str().expect("a token");
    let parts: Vec<&str> = token.split('.').collect();
    let told = claims(token);
    for claim in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"] {
        assert!(told.get(claim).is_some(), "{claim}: {told}");
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut richer = told.clone();
    richer["access"][0]["actions"] = json!(["pull", "push", "delete"]);
    let mut longer = told.clone();
    longer["exp"] = json!(4_102_444_800_u64);
    let none = encode(&json!({"alg": "none", "typ": "JWT"}));
    let jwk =
        encode(&json!({"alg": "HS256", "typ": "JWT", "jwk": {"kty": "oct", "k": "AAAA"}, "kid": "../../dev/null"}));
    for forged in [
        format!("{}.{}.{}", parts[0], encode(&richer), parts[2]),
        format!("{}.{}.{}", parts[0], encode(&longer), parts[2]),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{jwk}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        parts[1].to_owned(),
    ] {
        let reply = http::send(single.request(Method::GET, "/v2/").bearer_auth(&forged)).await.expect(401);
        let challenge = reply.header("www-authenticate").expect("a challenge");
        assert_eq!(parameter(challenge, "error").as_deref(), Some("invalid_token"), "{forged}");
    }
    http::send(single.request(Method::GET, "/v2/").bearer_auth(token)).await.expect(200);
}

/// 28: who may not is told so before a single byte of the body, and the connection is good for the next request.
#[tokio::test]
async fn refusals_come_before_the_body() {
    let single = Single::start().await;
    let host = single.region.host();
    let mut stream = TcpStream::connect(&host).await.expect("the region listens");
    let head = format!(
        "PUT /v2/{APP}/manifests/v1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the region reads");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("the region answers");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 401");

    // With the right, the body is asked for.
    let repository = single.app().await;
    let token = single.registry().ask_token(&format!("repository:{APP}:pull,push")).await.expect(200).json();
    let token = token["token"].as_str().expect("a token");
    let mut stream = TcpStream::connect(&host).await.expect("the region listens");
    let digest = image::digest(b"0123456789");
    let head = format!(
        "POST /v2/{APP}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the region reads");
    let mut answer = vec![0; 25];
    stream.read_exact(&mut answer).await.expect("the region answers");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"0123456789").await.expect("the region reads");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("the region answers");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 201");

    // A small body that nobody wanted is read away: the next request on the connection is answered as itself.
    let mut stream = TcpStream::connect(&host).await.expect("the region listens");
    let body = "x".repeat(1000);
    let both = format!(
        "PUT /v2/{APP}/manifests/v1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n{body}\
         GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(both.as_bytes()).await.expect("the region reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the region answers and closes");
    let answer = String::from_utf8_lossy(&answer);
    let codes: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(codes, ["401", "200"], "{answer}");
    drop(repository);
}

/// 26: names that are too long or wrong are the client's mistake. 22: every error has the one shape.
#[tokio::test]
async fn names_that_are_none() {
    let single = Single::start().await;
    let repository = single.app().await;
    repository.push_blob(b"content").await;
    let token = single.registry().ask_token(&format!("repository:{APP}:pull,push,delete")).await.expect(200).json();
    let token = token["token"].as_str().expect("a token");
    let long = "a".repeat(256);
    for name in [format!("group/{long}"), format!("{long}/app"), "group/UPPER".to_owned(), "group/a..b".to_owned()] {
        for path in ["manifests/v1", "tags/list", "blobs/uploads/"] {
            let method = if path.ends_with('/') { Method::POST } else { Method::GET };
            let request = single.request(method, &format!("/v2/{name}/{path}")).bearer_auth(token);
            let reply = http::send(request).await.expect(400);
            assert_eq!(code(&reply), "NAME_INVALID", "{name}/{path}");
        }
    }
    for (method, path, status, expected) in [
        (Method::GET, "manifests/absent", 404, "MANIFEST_UNKNOWN"),
        (Method::GET, "manifests/sha256:abc", 400, "DIGEST_INVALID"),
        (Method::GET, "manifests/.bad", 404, "MANIFEST_UNKNOWN"),
        (Method::PUT, "manifests/.bad", 400, "MANIFEST_INVALID"),
        (Method::GET, "blobs/sha256:abc", 400, "DIGEST_INVALID"),
        (Method::GET, "blobs/uploads/absent", 404, "BLOB_UPLOAD_UNKNOWN"),
        (Method::POST, "tags/list", 405, "UNSUPPORTED"),
        (Method::GET, "nothing/here", 404, "UNSUPPORTED"),
    ] {
        let reply = http::send(repository.request(method.clone(), path)).await.expect(status);
        assert_eq!(code(&reply), expected, "{method} {path}");
    }
}

/// Who logs in with the secret key itself has it, and is told what is derived from it. Nobody else learns anything, and a
/// guess counts as one.
#[tokio::test]
async fn the_secret_key_as_a_password_gets_a_hint() {
    let single = Single::start().await;
    let region = single.region.id().to_owned();
    let admin = &single.admin;
    let ask = async |user: &str, password: &str| {
        http::send(with_login(by_get(&single, ""), &(user.to_owned(), password.to_owned()))).await
    };
    let user = format!("{region}@{}", admin.access_key);
    let hint = ask(&user, &admin.secret_key).await.expect(401);
    assert_eq!(code(&hint), "DENIED");
    let text = hint.json()["errors"][0]["message"].as_str().expect("a sentence").to_owned();
    assert!(text.starts_with("Authenticate Error: ") && text.contains("openssl dgst"), "{text}");
    assert!(!text.contains(&admin.secret_key) && !text.contains(&login_of(&region, admin).1), "{text}");
    let form = [("grant_type", "password"), ("client_id", "a"), ("service", "dockyard"), ("username", &user)];
    let posted = by_post(&single, &[&form[..], &[("password", &admin.secret_key)]].concat()).await.expect(401);
    assert_eq!(posted.text(), hint.text());
    for (user, password) in [
        (user.as_str(), "another-secret-key"),
        (&format!("{region}@NOSUCHKEY"), &admin.secret_key),
        (&format!("elsewhere@{}", admin.access_key), &admin.secret_key),
        (&format!("{region}@NOSUCHKEY"), "no such access key"),
        ("admin", &admin.secret_key),
    ] {
        let refused = ask(user, password).await.expect(401);
        assert!(!refused.text().contains("openssl"), "{user}: {}", refused.text());
    }
    // Ten failures are free; then the right password waits too, and no hint tells it from a wrong one.
    while ask(&user, "wrong").await.status != 429 {}
    let held = ask(&user, &admin.secret_key).await.expect(429);
    assert!(!held.text().contains("openssl"), "{}", held.text());
}
