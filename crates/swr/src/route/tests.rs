use proptest::prelude::{prop_assert_eq, proptest};

use super::*;

type Found = (OperationId, PathValues);

fn values(values: &[(&'static str, &str)]) -> PathValues {
    PathValues { values: values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect() }
}

fn on(id: OperationId, namespace: &str, repository: &str) -> Found {
    (id, values(&[("namespace", namespace), (REPOSITORY, repository)]))
}

fn on_tag(id: OperationId, repository: &str, tag: &str) -> Found {
    (id, values(&[("namespace", "group"), (REPOSITORY, repository), ("tag", tag)]))
}

fn sync(namespace: &str, repository: &str) -> Found {
    on(OperationId::CreateManualImageSyncRepo, namespace, repository)
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
    assert_eq!(PathValues::default().repository().unwrap_err().code, ErrorCode::BadNamespace);
}

#[test]
fn a_name_is_decoded_once_and_never_reaches_another_resource() {
    for bad in ["a%252Fb", "a$$b", "$a", "a$", "$..$", "a%00b", "..", "%2e%2e", "a%0d%0ab"] {
        let path = format!("/v2/manage/namespaces/group/repos/{bad}");
        let Some((OperationId::ShowRepository, at)) = find("GET", &path) else { panic!("{bad}") };
        assert_eq!(at.repository().unwrap_err().code, ErrorCode::BadRepository, "{bad}");
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
    // Tags may be called like an ending.
    for tag in ["access", "tags", "sync_job", "sync_images", "sync_repo", "triggers", "retentions", "accessories"] {
        let path = format!("{base}/app/tags/{tag}");
        assert_eq!(find("GET", &path), Some(on_tag(OperationId::ShowRepoTag, "app", tag)), "{tag}");
        assert_eq!(find("DELETE", &path), Some(on_tag(OperationId::DeleteRepoTag, "app", tag)), "{tag}");
        assert_eq!(
            find("DELETE", &path.replace("app", "team$app")),
            Some(on_tag(OperationId::DeleteRepoTag, "team/app", tag))
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
        Some(on_tag(OperationId::ShowRepoTag, "team/app", "v1"))
    );
    // A repository may be called like an ending too.
    assert_eq!(find("DELETE", &format!("{base}/tags")), Some(on(OperationId::DeleteRepo, "group", "tags")));
    assert_eq!(find("GET", &format!("{base}/tags/tags")), Some(on(OperationId::ListRepositoryTags, "group", "tags")));
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
        let plain_repository = matches!(found, Some((OperationId::ShowRepository, _)));
        assert!(found.is_none() || plain_repository, "{method} {path}: {found:?}");
    }
}

#[test]
fn each_operation_that_is_built_is_found_by_the_path_that_is_written_for_it() {
    let values = [
        ("namespace", "group"),
        (REPOSITORY, "team/app"),
        ("tag", "v1.0_x"),
        ("project_id", "0123456789abcdef0123456789abcdef"),
        ("api_version", "v2"),
        ("access_domain", "other"),
        ("trigger", "t"),
        ("retention_id", "5"),
        ("resource_type", "store"),
        ("frequency", "daily"),
    ];
    for id in OperationId::ALL {
        let operation = id.operation();
        let written = path(*id, &values);
        let found = find(operation.method.as_str(), &written);
        if !operation.is_built {
            assert_eq!(found, None, "{id}");
            continue;
        }
        let (found, at) = found.unwrap_or_else(|| panic!("{id}: {written}"));
        assert_eq!(found, *id, "{written}");
        for (name, value) in values.iter().filter(|(name, _)| operation.path_values().any(|known| known == *name)) {
            assert_eq!(at.get(name), *value, "{id}");
        }
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
        let Some((OperationId::CreateManualImageSyncRepo, at)) = find("POST", &path) else { panic!("{path}") };
        prop_assert_eq!(at.repository().unwrap().to_string(), format!("{}/{}", namespace, repository));
    }

    #[test]
    fn whatever_stands_in_a_path_comes_out_of_it_again(namespace in "\\PC{1,20}", tag in "\\PC{1,20}") {
        let values = [("namespace", namespace.as_str()), (REPOSITORY, "app"), ("tag", tag.as_str())];
        let (id, at) = find("DELETE", &path(OperationId::DeleteRepoTag, &values)).unwrap();
        prop_assert_eq!((id, at.get("namespace"), at.get("tag")), (OperationId::DeleteRepoTag, &*namespace, &*tag));
    }

    #[test]
    fn no_path_makes_the_table_panic(path in "/(v2/manage/)?[ -~]{0,80}") {
        for method in ["GET", "POST", "PATCH", "DELETE", "PUT"] {
            let _ = find(method, &path);
        }
    }
}
