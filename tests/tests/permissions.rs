//! Who may do what. The table is made, not written: every combination of a level on the organization and a level on the
//! repository is a user, every action is tried as every one of them, and the expected answer is computed from the rules
//! of contract 5.2–5.5 and 3.3 by a function that knows nothing of the server.

use reqwest::Method;
use serde_json::json;
use transship_tests::http;
use transship_tests::image::Image;
use transship_tests::manage::{Sync, User, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD};
use transship_tests::random::Random;

/// No grant, read, write, manage.
const LEVELS: [i64; 4] = [0, 1, 3, 7];
const HERE: &str = "group/app";

/// A user and the levels that were granted.
struct Subject {
    user: User,
    organization: i64,
    repository: i64,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Pull,
    Push,
    ShowRepository,
    ListTags,
    UpdateRepository,
    DeleteTag,
    CreateRepository,
    GrantOrganization,
    GrantRepository,
    DeleteOrganization,
    ShowOrganizationGrants,
}

const ACTIONS: [Action; 11] = [
    Action::Pull,
    Action::Push,
    Action::ShowRepository,
    Action::ListTags,
    Action::UpdateRepository,
    Action::DeleteTag,
    Action::CreateRepository,
    Action::GrantOrganization,
    Action::GrantRepository,
    Action::DeleteOrganization,
    Action::ShowOrganizationGrants,
];

/// The rules. The effective level on a repository is the higher of the two; what touches the organization, and an
/// upload, asks for the organization's.
fn expected(action: Action, subject: &Subject) -> bool {
    let (organization, repository) = (subject.organization, subject.repository);
    let effective = organization.max(repository);
    match action {
        Action::Pull | Action::ShowRepository | Action::ListTags => effective >= 1,
        Action::Push | Action::CreateRepository => organization >= 3,
        Action::UpdateRepository => effective >= 3,
        Action::DeleteTag => effective >= 7,
        Action::GrantOrganization | Action::DeleteOrganization => organization >= 7,
        Action::GrantRepository => organization >= 3 || repository >= 7,
        Action::ShowOrganizationGrants => organization >= 1,
    }
}

/// Tries it, and tells whether it was allowed: the answer is `allowed` (which may be a harmless refusal for another
/// reason, so that nothing is destroyed) or 403; in the registry, where a missing right is asked for again, 401.
async fn tried(pair: &Pair, action: Action, user: &User) -> bool {
    let manage = pair.source.manage(user);
    let path = repository_path(GROUP, "app");
    let organization = format!("/v2/manage/namespaces/{GROUP}");
    // This user has grants already, so another one is refused with 409 by whoever may give it.
    let grant =
        Some(json!([{"user_id": pair.source.user_id(&User::named("guest")).await, "user_name": "guest", "auth": 1}]));
    let (reply, allowed) = match action {
        Action::Pull => {
            let repository = pair.source.registry(user).open(HERE, "pull").await;
            (http::send(repository.request(Method::GET, "manifests/v1")).await, 200)
        }
        Action::Push => {
            let repository = pair.source.registry(user).open(HERE, "pull,push").await;
            let start = repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0");
            (http::send(start).await, 202)
        }
        Action::ShowRepository => (manage.call("GET", &path, None).await, 200),
        Action::ListTags => (manage.call("GET", &format!("{path}/tags"), None).await, 200),
        Action::UpdateRepository => (manage.call("PATCH", &path, Some(json!({"is_public": false}))).await, 201),
        Action::DeleteTag => (manage.call("DELETE", &format!("{path}/tags/none"), None).await, 404),
        Action::CreateRepository => {
            let body = json!({"repository": "app", "is_public": false});
            (manage.call("POST", &format!("{organization}/repos"), Some(body)).await, 409)
        }
        Action::GrantOrganization => (manage.call("POST", &format!("{organization}/access"), grant).await, 409),
        Action::GrantRepository => (manage.call("POST", &format!("{path}/access"), grant).await, 409),
        Action::DeleteOrganization => (manage.call("DELETE", &organization, None).await, 406),
        Action::ShowOrganizationGrants => (manage.call("GET", &format!("{organization}/access"), None).await, 200),
    };
    let refusal = if matches!(action, Action::Pull | Action::Push) { 401 } else { 403 };
    assert!(reply.status == allowed || reply.status == refusal, "{action:?}: {} {}", reply.status, reply.text());
    reply.status == allowed
}

/// A pair with a repository, and a user for each pair of levels.
async fn stage() -> (Pair, Vec<Subject>) {
    let mut subjects = Vec::new();
    for organization in LEVELS {
        for repository in LEVELS {
            let user = User::named(&format!("user-{organization}-{repository}"));
            subjects.push(Subject { user, organization, repository });
        }
    }
    let guest = User::named("guest");
    let users = subjects.iter().map(|subject| subject.user.clone()).chain([guest.clone()]).collect();
    let pair = Pair::start(PairSettings { users, ..PairSettings::default() }).await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    pair.source_registry().push(HERE, "v1", &image).await;
    for subject in &subjects {
        let id = pair.source.user_id(&subject.user).await;
        if subject.organization > 0 {
            pair.manage().grant_namespace(GROUP, &[(&id, &subject.user.name, subject.organization)]).await;
        }
        if subject.repository > 0 {
            pair.manage().grant_repository(GROUP, "app", &[(&id, &subject.user.name, subject.repository)]).await;
        }
    }
    let id = pair.source.user_id(&guest).await;
    pair.manage().grant_namespace(GROUP, &[(&id, "guest", 1)]).await;
    pair.manage().grant_repository(GROUP, "app", &[(&id, "guest", 1)]).await;
    (pair, subjects)
}

#[tokio::test]
async fn every_action_by_every_user() {
    let (pair, subjects) = stage().await;
    let mut wrong = Vec::new();
    for action in ACTIONS {
        for subject in &subjects {
            let (may, did) = (expected(action, subject), tried(&pair, action, &subject.user).await);
            if may != did {
                wrong.push(format!("{action:?} by {}: allowed {did}, by the rules {may}", subject.user.name));
            }
        }
        assert!(tried(&pair, action, &pair.admin).await, "{action:?} by the administrator");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn sync_images_by_every_user_and_target_level() {
    let (pair, subjects) = stage().await;
    let target = pair.target.manage(&pair.admin);
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    let access = format!("/v2/manage/namespaces/{SDSAD}/access");
    let mut wrong = Vec::new();
    for level in LEVELS {
        for subject in &subjects {
            let (name, id) = (&subject.user.name, pair.target.user_id(&subject.user).await);
            let body = json!([{"user_id": id, "user_name": name, "auth": level}]);
            match level {
                // Manage on the repository in the target does not help: an upload asks for the organization's level.
                0 => target.grant_repository(SDSAD, "app", &[(&id, name, 7)]).await,
                1 => drop(target.call("POST", &access, Some(body)).await.expect(200)),
                _ => drop(target.call("PATCH", &access, Some(body)).await.expect(201)),
            }
            let may = subject.organization.max(subject.repository) >= 1 && level >= 3;
            let reply = pair.source.manage(&subject.user).sync_images(GROUP, "app", &Sync::of(&["v1"])).await;
            let did = match reply.status {
                200 => true,
                403 => false,
                status => panic!("{status} {}", reply.text()),
            };
            if may != did {
                wrong.push(format!("{name} with {level} in the target: allowed {did}, by the rules {may}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Another account of the same region: nothing of the first one can be seen or touched, and what is there looks like
/// what is not.
#[tokio::test]
async fn a_stranger_from_another_account() {
    let mut pair = Pair::start(PairSettings::default()).await;
    pair.source_registry().push(HERE, "v1", &Image::random(&mut Random::seeded(1), 1, 1000)).await;
    let (stranger, guest) = (User::named("stranger"), User::named("guest"));
    pair.source.terminate().await;
    pair.source.admin(&["account", "create", "--name", "elsewhere"]).await;
    pair.source.add_user("elsewhere", &stranger).await;
    pair.source.add_user("demo", &guest).await;
    pair.source.start().await;
    for action in ACTIONS {
        assert!(!tried(&pair, action, &stranger).await, "{action:?} by a stranger");
    }
    let manage = pair.source.manage(&stranger);
    for call in ["", "/tags", "/sync_job?filter=limit%3A%3A10%7Coffset%3A%3A0"] {
        let there = manage.call("GET", &format!("{}{call}", repository_path(GROUP, "app")), None).await;
        let absent = manage.call("GET", &format!("{}{call}", repository_path(GROUP, "none")), None).await;
        assert_eq!(there.status, absent.status, "{call}: {} and {}", there.text(), absent.text());
        assert_eq!(there.error_code(), absent.error_code(), "{call}");
        assert_eq!(there.text().replace("app", "none"), absent.text().replace("app", "none"), "{call}");
    }
    let reply = manage.sync_images(GROUP, "app", &Sync::of(&["v1"])).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    let listed = manage.call("GET", "/v2/manage/repos", None).await.expect(200).json();
    assert_eq!(listed, json!([]));
}

/// A disabled user, and a disabled key, are shut out of everything.
#[tokio::test]
async fn the_disabled_are_shut_out() {
    let user = User::named("somebody");
    let mut pair = Pair::start(PairSettings { users: vec![user.clone()], ..PairSettings::default() }).await;
    let call = |pair: &Pair| {
        let manage = pair.source.manage(&user);
        async move { manage.call("GET", "/v2/manage/namespaces", None).await.status }
    };
    let login = |pair: &Pair| {
        let registry = pair.source.registry(&user);
        async move { registry.ask_token("repository:group/app:pull").await.status }
    };
    assert_eq!((call(&pair).await, login(&pair).await), (200, 200));
    let key = ["--access-key", &user.access_key];
    let name = ["--account", "demo", "--name", &user.name];
    for (kind, whom) in [("access-key", &key[..]), ("user", &name[..])] {
        for (verb, status) in [("disable", 401), ("enable", 200)] {
            pair.source.terminate().await;
            pair.source.admin(&[&[kind, verb], whom].concat()).await;
            pair.source.start().await;
            assert_eq!((call(&pair).await, login(&pair).await), (status, status), "after {kind} {verb}");
        }
    }
}

/// Three kinds of token, and none opens what another one is for.
#[tokio::test]
async fn a_token_of_one_kind_opens_nothing_else() {
    let pair = Pair::start(PairSettings::default()).await;
    pair.source_registry().push(HERE, "v1", &Image::random(&mut Random::seeded(1), 1, 1000)).await;
    let (iam, token_of_iam) = pair.source.iam_token(&pair.admin).await;
    assert_eq!(iam["token"]["project"]["name"], pair.source.id());
    let scope = format!("repository:{HERE}:pull");
    let answer = pair.source_registry().ask_token(&scope).await.expect(200).json();
    let token_of_registry = answer["token"].as_str().unwrap().to_owned();

    let (http, url) = (http::client(), pair.source.url());
    let manage = |token: &str| http.get(format!("{url}/v2/manage/namespaces")).header("X-Auth-Token", token);
    let registry = |token: &str| http.get(format!("{url}/v2/{HERE}/manifests/v1")).bearer_auth(token);
    http::send(manage(&token_of_iam)).await.expect(200);
    http::send(registry(&token_of_registry)).await.expect(200);
    http::send(manage(&token_of_registry)).await.expect(401);
    http::send(registry(&token_of_iam)).await.expect(401);
    // A token of another region is as good as none, though the user is the same.
    let target = pair.target.url();
    http::send(http.get(format!("{target}/v2/manage/namespaces")).header("X-Auth-Token", &token_of_iam))
        .await
        .expect(401);
    http::send(http.get(format!("{target}/v2/{HERE}/manifests/v1")).bearer_auth(&token_of_registry)).await.expect(401);
    // Nor is a Basic login on the registry itself, or a signature on it.
    let (user, password) = transship_tests::registry::login_of(pair.source.id(), &pair.admin);
    let basic = http.get(format!("{url}/v2/{HERE}/manifests/v1")).basic_auth(user, Some(password));
    http::send(basic).await.expect(401);
}
