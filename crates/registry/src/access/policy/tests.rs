//! One table of who may read what, against every place that decides it: the policy, tokens, and the statements of lists
//! and mounts.

use transship_catalog::RepoOrder;
use transship_oci::{Action, Scope};

use super::*;
use crate::access::grants::GrantSpec;
use crate::content::repositories::{ListRepositories, Overflow, RepositoryAttributes, RepositoryPage};
use crate::testing::{TestRegion, name};

const REPOSITORIES: [&str; 4] = ["group/granted", "group/private", "group/public", "theirs/public"];

fn spec(user: &Principal, level: i64) -> [GrantSpec; 1] {
    [GrantSpec { user_id: user.user_id.clone(), user_name: user.user_name.clone(), level }]
}

fn everything() -> ListRepositories {
    ListRepositories {
        namespace: None,
        name_contains: None,
        category: None,
        is_public: None,
        order: (RepoOrder::Name, false),
        limit: 100,
        page: RepositoryPage::Offset(0),
        with_tags: false,
        overflow: Overflow::LeaveOut,
    }
}

#[tokio::test]
async fn lists_tokens_and_mounts_agree_with_the_policy() {
    let region = TestRegion::start("region-a").await;
    let (content, access, identity) = (region.registry.content(), region.registry.access(), region.registry.identity());
    identity.create_account("others").await.unwrap();
    let other = async |user: &str, is_admin: bool| -> Principal {
        identity.create_user("others", user, None, is_admin).await.unwrap().into()
    };
    let (their_admin, stranger) = (other("boss", true).await, other("stranger", false).await);
    let theirs: NamespaceName = "theirs".parse().unwrap();
    content.create_namespace(&their_admin, &theirs).await.unwrap();
    for namespace in ["group", "box"] {
        region.namespace(namespace).await;
    }
    let mut layers = Vec::new();
    for path in REPOSITORIES {
        let path = name(path);
        if *path.namespace() == theirs {
            content
                .create_repository(
                    &their_admin,
                    &path,
                    RepositoryAttributes { is_public: true, ..RepositoryAttributes::default() },
                )
                .await
                .unwrap();
        } else {
            region.push_image(&path, "v1", path.as_str().as_bytes()).await;
            let is_public = path.as_str().ends_with("public");
            content.update_repository(&region.admin, &path, is_public, None, None).await.unwrap();
        }
        layers.push(transship_oci::Digest::of(transship_oci::DigestAlgorithm::Sha256, path.as_str().as_bytes()));
    }
    let (none, reader, writer) = (region.user("none").await, region.user("reader").await, region.user("writer").await);
    let one = region.user("one").await;
    let group: NamespaceName = "group".parse().unwrap();
    access.add_namespace_grants(&region.admin, &group, &spec(&reader, 1)).await.unwrap();
    access.add_namespace_grants(&region.admin, &group, &spec(&writer, 3)).await.unwrap();
    access.add_repository_grants(&region.admin, &name("group/granted"), &spec(&one, 1)).await.unwrap();
    region.push_image(&name("box/target"), "v1", b"target").await;
    let target = region.registry.catalog().find_repository(&name("box/target")).await.unwrap().unwrap();

    let all = &REPOSITORIES[..];
    let public = &["group/public", "theirs/public"][..];
    let table: [(&str, Option<&Principal>, &[&str]); 8] = [
        ("an administrator", Some(&region.admin), all),
        ("a user without a level", Some(&none), public),
        ("a reader of the organization", Some(&reader), all),
        ("a writer of the organization", Some(&writer), all),
        ("a reader of one repository", Some(&one), &["group/granted", "group/public", "theirs/public"]),
        ("an administrator of another account", Some(&their_admin), public),
        ("a user of another account", Some(&stranger), public),
        ("nobody", None, public),
    ];
    for (caller, principal, readable) in table {
        let names = content.repository_names(principal, None, 100).await.unwrap();
        let own = match principal {
            Some(principal) => {
                let page = content.list_repositories(principal, everything()).await.unwrap();
                page.repositories
                    .iter()
                    .map(|found| format!("{}/{}", found.repository.namespace, found.repository.name))
                    .collect()
            }
            None => Vec::new(),
        };
        for (path, layer) in REPOSITORIES.into_iter().zip(&layers) {
            let (may, what) = (readable.contains(&path), format!("{caller}, {path}"));
            let decided = access.effective_access(&name(path), principal).await.unwrap();
            assert_eq!(decided.allows(Action::Pull), may, "{what}: the policy");
            assert_eq!(names.iter().any(|found| found == path), may, "{what}: the catalog of the registry protocol");
            let scope = Scope::repository(&name(path), &[Action::Pull]);
            let token = identity.issue_registry_token(principal, &[scope]).await.unwrap().token;
            let grant = identity.verify_registry_token(&token).unwrap();
            assert_eq!(grant.allows(&name(path), Action::Pull), may, "{what}: a token");
            let Some(principal) = principal else { continue };
            let is_own = decided.namespace.as_ref().is_some_and(|found| found.account_id == principal.account_id);
            assert_eq!(own.iter().any(|found| found == path), may && is_own, "{what}: the list of the account");
            let mounted = region.registry.catalog().mount_readable(
                target.id,
                &principal.account_id,
                &principal.user_id,
                principal.is_admin,
                std::slice::from_ref(layer),
            );
            let has_content = path.starts_with("group/");
            assert_eq!(!mounted.await.unwrap().is_empty(), may && has_content, "{what}: a mount");
        }
    }
}
