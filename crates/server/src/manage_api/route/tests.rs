use proptest::prelude::{prop_assert_eq, proptest};

use super::*;

fn find(method: &str, path: &str) -> Option<Operation> {
    Operation::find(&method.parse().unwrap(), path)
}

fn sync(namespace: &str, repository: &str) -> Operation {
    Operation::CreateManualImageSyncRepo(RepositoryAt {
        namespace: namespace.to_owned(),
        repository: repository.to_owned(),
    })
}

#[test]
fn every_spelling_of_a_repository_that_clients_use_is_the_same_repository() {
    for spelling in ["team$app", "team%24app", "team%2Fapp", "team/app"] {
        let path = format!("/v2/manage/namespaces/group/repos/{spelling}/sync_images");
        assert_eq!(find("POST", &path), Some(sync("group", "team/app")), "{spelling}");
    }
}

#[test]
fn samples_without_names_reach_the_operation_and_its_clean_error() {
    assert_eq!(find("POST", "/v2/manage/namespaces//repos//sync_images"), Some(sync("", "")));
    let literal = "/v2/manage/namespaces/%7Bnamespace%7D/repos/%7Brepository%7D/sync_images";
    assert_eq!(find("POST", literal), Some(sync("{namespace}", "{repository}")));
    let error = RepositoryAt { namespace: String::new(), repository: String::new() }.name().unwrap_err();
    assert_eq!(error.code(), ErrorCode::BadNamespace);
}

#[test]
fn a_name_is_decoded_once_and_never_reaches_another_resource() {
    for bad in ["a%252Fb", "a$$b", "$a", "a$", "$..$", "a%00b", "..", "%2e%2e", "a%0d%0ab"] {
        let path = format!("/v2/manage/namespaces/group/repos/{bad}");
        let Some(Operation::ShowRepository(at)) = find("GET", &path) else { panic!("{bad}") };
        assert_eq!(at.name().unwrap_err().code(), ErrorCode::BadRepository, "{bad}");
    }
}

#[test]
fn resources_that_are_not_built_yet_are_no_repositories() {
    for ending in ["sync_repo", "triggers", "triggers/t", "retentions", "retentions/1", "retentions/histories"] {
        for method in ["GET", "PATCH", "DELETE", "POST"] {
            let path = format!("/v2/manage/namespaces/group/repos/app/{ending}");
            assert_eq!(find(method, &path), None, "{method} {ending}");
        }
    }
    assert_eq!(find("GET", "/v2/manage/namespaces/group/repos/app/v1/accessories"), None);
    // Written as one segment, the same words are a repository.
    assert!(find("DELETE", "/v2/manage/namespaces/group/repos/app$triggers").is_some());
}

#[test]
fn a_path_with_two_readings_is_the_one_with_a_plain_name_or_none() {
    let base = "/v2/manage/namespaces/group/repos";
    let at = |repository: &str| RepositoryAt { namespace: "group".to_owned(), repository: repository.to_owned() };
    // Tags may be called like an ending.
    for tag in ["access", "tags", "sync_job", "sync_images", "sync_repo", "triggers", "retentions", "accessories"] {
        let path = format!("{base}/app/tags/{tag}");
        assert_eq!(find("GET", &path), Some(Operation::ShowRepoTag(at("app"), tag.to_owned())), "{tag}");
        assert_eq!(find("DELETE", &path), Some(Operation::DeleteRepoTag(at("app"), tag.to_owned())), "{tag}");
        assert_eq!(
            find("DELETE", &path.replace("app", "team$app")),
            Some(Operation::DeleteRepoTag(at("team/app"), tag.to_owned()))
        );
    }
    for ending in ["access", "tags", "sync_job", "triggers", "retentions", "accessories"] {
        assert_eq!(find("GET", &format!("{base}/team/app/tags/{ending}")), None, "{ending}");
    }
    assert_eq!(find("DELETE", &format!("{base}/team/app/tags/access")), None);
    // Only one of the readings has the method.
    assert_eq!(find("POST", &format!("{base}/team/tags/sync_images")), Some(sync("group", "team/tags")));
    assert_eq!(
        find("GET", &format!("{base}/team/app/tags/v1")),
        Some(Operation::ShowRepoTag(at("team/app"), "v1".to_owned()))
    );
    // A repository may be called like an ending too.
    assert_eq!(find("DELETE", &format!("{base}/tags")), Some(Operation::DeleteRepo(at("tags"))));
    assert_eq!(find("GET", &format!("{base}/tags/tags")), Some(Operation::ListRepositoryTags(at("tags"))));
}

#[test]
fn a_wrong_method_on_a_known_path_reaches_no_repository_of_that_name() {
    for (method, ending) in [
        ("GET", "sync_images"),
        ("DELETE", "sync_images"),
        ("DELETE", "sync_job"),
        ("DELETE", "tags"),
        ("PATCH", "tags"),
        ("PATCH", "tags/v1"),
        ("PUT", "access"),
    ] {
        for repository in ["app", "team/app", "team$app"] {
            let path = format!("/v2/manage/namespaces/group/repos/{repository}/{ending}");
            assert_eq!(find(method, &path), None, "{method} {path}");
        }
    }
}

#[test]
fn unknown_paths_and_methods_are_no_operation() {
    for (method, path) in [
        ("GET", "/v2/manage"),
        ("GET", "/v2/manage/nothing"),
        ("PUT", "/v2/manage/namespaces"),
        ("POST", "/v2/manage/regions"),
        ("GET", "/v2/manage/namespaces/group/repos/app/sync_images/more/than/that/tags/x/y/z/sync_imagesx"),
        ("POST", "/v2/manage/namespaces/group/repos/app"),
        ("GET", "/v3/manage/namespaces/group/repos/tags"),
        ("GET", "/a/b"),
        ("POST", "/"),
    ] {
        let found = find(method, path);
        let plain_repository = matches!(found, Some(Operation::ShowRepository(_)));
        assert!(found.is_none() || plain_repository, "{method} {path}: {found:?}");
    }
}

proptest! {
    #[test]
    fn valid_names_survive_the_path_in_each_spelling(
        namespace in "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?",
        repository in "[a-z0-9]{1,6}([/._-][a-z0-9]{1,4}){0,3}",
        spelling in 0_usize..3,
    ) {
        let written = repository.replace('/', ["$", "%24", "%2F"][spelling]);
        let path = format!("/v2/manage/namespaces/{namespace}/repos/{written}/sync_images");
        let Some(Operation::CreateManualImageSyncRepo(at)) = find("POST", &path) else { panic!("{path}") };
        prop_assert_eq!(at.name().unwrap().to_string(), format!("{}/{}", namespace, repository));
    }

    #[test]
    fn no_path_makes_the_table_panic(path in "/(v2/manage/)?[ -~]{0,80}") {
        for method in ["GET", "POST", "PATCH", "DELETE", "PUT"] {
            let _ = find(method, &path);
        }
    }
}
