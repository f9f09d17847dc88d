//! What one account learns of the people of another, which is nothing, and logins that end with what they were made with.

use reqwest::Method;
use serde_json::{Value, json};
use transship_tests::http;
use transship_tests::image::Image;
use transship_tests::manage::{Manage, Sync, User, repository_path};
use transship_tests::pair;
use transship_tests::random::Random;
use transship_tests::region::{ACCOUNT, Region, RegionSettings};
use transship_tests::registry::{Registry, login_of};

const ELSEWHERE: &str = "elsewhere";
/// The form of a user's id that does not exist.
const NOBODY: &str = "00000000000000000000000000000000";

/// A region whose first account has a public and a private repository, with grants on both and on their organization.
/// The administrator of another account looks at them.
struct Stage {
    region: Region,
    stranger: User,
    image: Image,
    /// Names and ids of the owning account's people.
    people: Vec<String>,
}

async fn stage() -> Stage {
    // Names that no other text has in it.
    let (owner, member, stranger) = (User::named("olga-owner"), User::named("magnus-member"), User::named("stranger"));
    let mut region = Region::prepare(RegionSettings::named(pair::SOURCE), &owner).await;
    region.start().await;
    region.terminate().await;
    region.add_user(ACCOUNT, &member).await;
    region.admin(&["account", "create", "--name", ELSEWHERE]).await;
    let password = region.data_dir().join("stranger-password");
    std::fs::write(&password, &stranger.password).expect("the folder is writable");
    let secret = region.data_dir().join("stranger-secret");
    std::fs::write(&secret, &stranger.secret_key).expect("the folder is writable");
    let (password, secret) = (password.display().to_string(), secret.display().to_string());
    let user = ["user", "create", "--account", ELSEWHERE, "--name", &stranger.name, "--admin"];
    region.admin(&[&user[..], &["--password-file", &password]].concat()).await;
    let key = ["access-key", "create", "--account", ELSEWHERE, "--user", &stranger.name];
    let given = ["--access-key", &stranger.access_key, "--secret-key-file", &secret];
    region.admin(&[&key[..], &given[..]].concat()).await;
    region.start().await;

    let manage = region.manage(&owner);
    manage.create_namespace("team").await;
    let image = Image::random(&mut Random::seeded(3), 1, 2000);
    for repository in ["team/open", "team/secret"] {
        region.registry(&owner).push(repository, "v1", &image).await;
    }
    let public = json!({"is_public": true});
    manage.call("PATCH", &repository_path("team", "open"), Some(public)).await.expect(201);
    let (owner_id, member_id) = (region.user_id(&owner).await, region.user_id(&member).await);
    manage.grant_namespace("team", &[(&member_id, &member.name, 3)]).await;
    for repository in ["open", "secret"] {
        manage.grant_repository("team", repository, &[(&member_id, &member.name, 7)]).await;
    }
    // A job has an operator, and may have a reason.
    manage.create_namespace("copies").await;
    let copy = Sync { region: pair::SOURCE, namespace: "copies", ..Sync::of(&["v1", "absent"]) };
    assert_eq!(region.manage(&member).sync_images("team", "open", &copy).await.status, 403);
    assert_eq!(manage.sync("team", "open", &copy).await, ["absent"]);
    region.manage(&stranger).create_namespace("other").await;
    let people = vec![owner.name.clone(), member.name.clone(), owner_id, member_id];
    Stage { region, stranger, image, people }
}

impl Stage {
    fn assert_nobody_in(&self, reply: &http::Reply) {
        let answer = format!("{:?}\n{}", reply.headers, reply.text());
        for person in &self.people {
            assert!(!answer.contains(person.as_str()), "{} tells of {person}: {answer}", reply.asked);
        }
    }
}

/// Every operation that names an organization or a repository, and every list.
fn operations(namespace: &str, repository: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let (organization, path) = (format!("/v2/manage/namespaces/{namespace}"), repository_path(namespace, repository));
    let v3 = path.replace("/v2/", "/v3/");
    let filter = "limit%3A%3A100%7Coffset%3A%3A0";
    let grant = json!([{"user_id": NOBODY, "user_name": "somebody", "auth": 1}]);
    let tag = json!({"source_tag": "v1", "destination_tag": "v2"});
    let sync = json!({"imageTag": ["v1"], "remoteRegionId": pair::SOURCE, "remoteNamespace": "other"});
    vec![
        ("POST", "/v2/manage/namespaces".into(), Some(json!({"namespace": namespace}))),
        ("GET", "/v2/manage/namespaces".into(), None),
        ("GET", format!("/v2/manage/namespaces?filter=namespace%3A%3A{namespace}%7Cmode%3A%3Avisible"), None),
        ("GET", organization.clone(), None),
        ("DELETE", organization.clone(), None),
        ("GET", format!("{organization}/access"), None),
        ("POST", format!("{organization}/access"), Some(grant.clone())),
        ("PATCH", format!("{organization}/access"), Some(grant.clone())),
        ("DELETE", format!("{organization}/access"), Some(json!([NOBODY]))),
        ("POST", format!("{organization}/repos"), Some(json!({"repository": repository, "is_public": true}))),
        ("GET", "/v2/manage/repos".into(), None),
        ("GET", format!("/v2/manage/repos?namespace={namespace}"), None),
        ("GET", "/v3/manage/repos".into(), None),
        ("GET", path.clone(), None),
        ("PATCH", path.clone(), Some(json!({"is_public": true}))),
        ("DELETE", path.clone(), None),
        ("GET", format!("{path}/access"), None),
        ("POST", format!("{path}/access"), Some(grant.clone())),
        ("PATCH", format!("{path}/access"), Some(grant)),
        ("DELETE", format!("{path}/access"), Some(json!([NOBODY]))),
        ("GET", format!("{path}/tags"), None),
        ("GET", format!("{v3}/tags?with_manifest=true"), None),
        ("GET", format!("{path}/tags/v1"), None),
        ("POST", format!("{path}/tags"), Some(tag)),
        ("DELETE", format!("{path}/tags/v1"), None),
        ("POST", format!("{path}/sync_images"), Some(sync)),
        ("GET", format!("{path}/sync_job?filter={filter}"), None),
        ("GET", "/v2/manage/regions".into(), None),
        ("GET", "/v2/manage/overview".into(), None),
        ("POST", "/v2/manage/utils/secret".into(), None),
        ("GET", "/v3/users".into(), None),
        ("GET", "/v3/auth/domains".into(), None),
        ("GET", "/v3/projects".into(), None),
    ]
}

#[tokio::test]
async fn another_account_learns_nothing_of_the_people() {
    let stage = stage().await;
    let strange = stage.region.manage(&stage.stranger);
    for repository in ["open", "secret", "none"] {
        for (method, path, body) in operations("team", repository) {
            let reply = strange.call(method, &path, body).await;
            assert!(reply.status < 500, "{}: {}", reply.asked, reply.text());
            stage.assert_nobody_in(&reply);
        }
    }
    for person in &stage.people {
        let path =
            if person.contains('-') { format!("/v3/users?name={person}") } else { format!("/v3/users/{person}") };
        let reply = strange.call("GET", &path, None).await;
        assert!(!reply.text().contains("\"enabled\""), "{}: {}", reply.asked, reply.text());
        if !person.contains('-') {
            // An id that exists and one that does not are answered the same.
            for path in [repository_path("team", "open"), "/v2/manage/namespaces/other".to_owned()] {
                let told = async |id: &str| {
                    let grant = json!([{"user_id": id, "user_name": "somebody", "auth": 1}]);
                    let reply = strange.call("POST", &format!("{path}/access"), Some(grant)).await;
                    (reply.status, reply.error_message().replace(id, "ID"))
                };
                assert_eq!(told(person).await, told(NOBODY).await, "{path}");
            }
        }
    }

    // What is public is still told, and its own account sees everything as ever.
    let shown = strange.call("GET", &repository_path("team", "open"), None).await.expect(200).json();
    assert_eq!(
        (&shown["name"], &shown["creator_name"], &shown["creator_id"]),
        (&json!("open"), &json!(""), &json!(""))
    );
    let access =
        strange.call("GET", &format!("{}/access", repository_path("team", "open")), None).await.expect(200).json();
    assert_eq!((&access["others_auths"], &access["creator_name"]), (&json!([]), &json!("")));
    assert_eq!(access["self_auth"]["user_name"], json!(stage.stranger.name));
    let own = stage.region.manage(&User::named("olga-owner"));
    let access = own.call("GET", &format!("{}/access", repository_path("team", "open")), None).await.expect(200).json();
    assert_eq!(access["others_auths"][0]["user_name"], json!("magnus-member"));
    let shown = own.call("GET", &repository_path("team", "open"), None).await.expect(200).json();
    assert_eq!(shown["creator_name"], json!("olga-owner"));

    // The registry protocol.
    let registry = stage.region.registry(&stage.stranger);
    for repository in ["team/open", "team/secret", "team/none"] {
        let opened = registry.open(repository, "pull,push,delete").await;
        for (method, path) in [
            (Method::GET, "tags/list".to_owned()),
            (Method::GET, "manifests/v1".to_owned()),
            (Method::DELETE, "manifests/v1".to_owned()),
            (Method::GET, format!("referrers/{}", stage.image.digest())),
            (Method::POST, "blobs/uploads/".to_owned()),
        ] {
            stage.assert_nobody_in(&http::send(opened.request(method, &path).header("Content-Length", "0")).await);
        }
    }
}

/// The login that `CreateSecret` gives.
async fn temporary_login(manage: &Manage) -> (String, String) {
    let reply = manage.call("POST", "/v2/manage/utils/secret", None).await.expect(200);
    let command = reply.header("x-swr-dockerlogin").expect("the login comes in a header").to_owned();
    let words: Vec<&str> = command.split(' ').collect();
    (words[3].to_owned(), words[5].to_owned())
}

#[tokio::test]
async fn a_temporary_login_ends_with_the_access_key_it_was_made_with() {
    let admin = User::named("admin");
    let mut settings = RegionSettings::named(pair::SOURCE);
    settings.sections.push("[tokens]\nlogins_per_user = 2".to_owned());
    let mut region = Region::prepare(settings, &admin).await;
    region.start().await;
    let manage = region.manage(&admin);
    let status =
        async |login: &(String, String)| Registry::new(&region.url(), Some(login.clone())).ask_token("").await.status;
    let login = temporary_login(&manage).await;
    assert_eq!(status(&login).await, 200);
    let refresh = {
        let basic = reqwest::header::HeaderValue::try_from(format!("Basic {}", base64(&login))).expect("plain text");
        let url = format!("{}/swr/auth/v2/registry/auth/?service=dockyard&offline_token=true", region.url());
        let reply = http::send(http::client().get(url).header("Authorization", basic)).await.expect(200);
        reply.json()["refresh_token"].as_str().expect("it was asked for").to_owned()
    };
    let refreshed = async || {
        let form = format!("grant_type=refresh_token&service=dockyard&client_id=test&refresh_token={refresh}");
        let post = http::client().post(format!("{}/swr/auth/v2/registry/auth/", region.url())).body(form);
        http::send(post.header("Content-Type", "application/x-www-form-urlencoded")).await.status
    };
    assert_eq!(refreshed().await, 200);

    for change in ["disable", "enable"] {
        region.admin(&["access-key", change, "--access-key", &admin.access_key]).await;
        assert_eq!(status(&login).await, 401, "after {change}");
        assert_eq!(refreshed().await, 401, "after {change}");
    }
    // The key itself is good again, and so is what is made with it now; the third login ends the first.
    assert_eq!(status(&login_of(region.id(), &admin)).await, 200);
    let first = temporary_login(&manage).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let second = temporary_login(&manage).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!((status(&first).await, status(&second).await), (200, 200));
    let third = temporary_login(&manage).await;
    assert_eq!((status(&first).await, status(&second).await, status(&third).await), (401, 200, 200));

    for change in ["disable", "enable"] {
        region.admin(&["user", change, "--account", ACCOUNT, "--name", &admin.name]).await;
        assert_eq!(status(&third).await, 401, "after {change}");
    }
}

fn base64((user, password): &(String, String)) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}
