use super::Api;

#[test]
fn every_path_belongs_to_one_api() {
    for (path, api) in [
        ("/livez", Api::Health),
        ("/readyz", Api::Health),
        ("/readyz/", Api::Manage),
        ("/", Api::Manage),
        ("/v2", Api::Manage),
        ("/v3", Api::Manage),
        ("/v2/", Api::Oci),
        ("/v2/manage", Api::Manage),
        ("/v2/manage/namespaces", Api::Manage),
        ("/v2/managed/app/tags/list", Api::Oci),
        ("/v2/%6danage/namespaces", Api::Oci),
        ("/v3/manage/repos", Api::Manage),
        ("/v3/auth/tokens", Api::Iam),
        ("/v3/managers", Api::Iam),
        ("/v3.0/OS-USER/users/1", Api::Iam),
        ("/v30", Api::Manage),
        ("/swr/auth/v2/registry/auth/", Api::Oci),
        ("/swr/authority", Api::Manage),
        ("/transship/v1/token", Api::Peer),
        ("/transshipment", Api::Manage),
        ("//v2/", Api::Manage),
        ("/V2/", Api::Manage),
        ("/v2;x/", Api::Manage),
        ("//evil.example/..", Api::Manage),
    ] {
        assert_eq!(Api::of(path), api, "{path}");
    }
}
