use super::{fixture, namespace_name, new_repository, repository, repository_name, user};
use crate::{Catalog, CatalogError, CreateNamespaceError, Deleted, Grant, Level, ListNamespaces, User};

pub(super) async fn creators_manage(catalog: Catalog, _: String) {
    let account = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &account, "ada", false).await;
    let made = catalog.create_namespace(&namespace_name("team"), &ada, 5).await.unwrap();
    assert_eq!((made.account_id.as_str(), made.creator_name.as_str()), (account.id.as_str(), "ada"));
    assert_eq!(catalog.find_namespace(&namespace_name("team")).await.unwrap().as_ref(), Some(&made));
    assert_eq!(catalog.find_namespace(&namespace_name("other")).await.unwrap(), None);
    let grants = catalog.namespace_grants(made.id).await.unwrap();
    assert_eq!(grants, [Grant { user_id: ada.id.clone(), user_name: "ada".to_owned(), level: Level::Manage }]);
    let (found, level) = catalog.namespace_access(&made.name, Some(&ada.id)).await.unwrap().unwrap();
    assert_eq!((found, level), (made, Some(Level::Manage)));
}

pub(super) async fn names_are_taken_and_quotas_hold(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let other = catalog.create_account("other").await.unwrap();
    let stranger = user(&catalog, &other, "eve", true).await;
    for creator in [&fixture.admin, &stranger] {
        let taken = catalog.create_namespace(&namespace_name("team"), creator, 5).await;
        assert!(matches!(taken, Err(CreateNamespaceError::Taken)), "{taken:?}");
    }
    catalog.create_namespace(&namespace_name("second"), &fixture.admin, 2).await.unwrap();
    let third = catalog.create_namespace(&namespace_name("third"), &fixture.admin, 2).await;
    assert!(matches!(third, Err(CreateNamespaceError::QuotaExceeded)), "{third:?}");
    catalog.create_namespace(&namespace_name("third"), &stranger, 2).await.unwrap();
}

pub(super) async fn full_namespaces_stay(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    assert_eq!(catalog.delete_namespace(fixture.namespace.id).await.unwrap(), Deleted::HasRepositories);
    assert!(catalog.delete_repository(fixture.repository.id).await.unwrap());
    assert_eq!(catalog.delete_namespace(fixture.namespace.id).await.unwrap(), Deleted::Done);
    assert_eq!(catalog.delete_namespace(fixture.namespace.id).await.unwrap(), Deleted::Absent);
    let lost = catalog.create_repository(new_repository(&fixture.namespace, &fixture.admin, "app")).await;
    assert!(matches!(lost, Err(CatalogError::NotFound { .. })), "{lost:?}");
}

fn list(user: &User, name: Option<&str>, visible: bool) -> ListNamespaces {
    ListNamespaces {
        account_id: user.account_id.clone(),
        user_id: user.id.clone(),
        is_admin: user.is_admin,
        name: name.map(str::to_owned),
        visible,
    }
}

pub(super) async fn listing_follows_levels(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ada = user(&catalog, &fixture.account, "ada", false).await;
    let second = catalog.create_namespace(&namespace_name("a-second"), &fixture.admin, 5).await.unwrap();
    let hidden = catalog.create_namespace(&namespace_name("hidden"), &fixture.admin, 5).await.unwrap();
    let other = catalog.create_account("other").await.unwrap();
    let stranger = user(&catalog, &other, "eve", true).await;
    catalog.create_namespace(&namespace_name("theirs"), &stranger, 5).await.unwrap();
    catalog.add_namespace_grants(second.id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    catalog.add_repository_grants(fixture.repository.id, &[(ada.id.clone(), Level::Write)]).await.unwrap();

    let names = async |list: ListNamespaces| -> Vec<(String, Option<Level>)> {
        let found = catalog.list_namespaces(list).await.unwrap();
        found.into_iter().map(|summary| (summary.namespace.name.to_string(), summary.level)).collect()
    };
    let read = ("a-second".to_owned(), Some(Level::Read));
    assert_eq!(names(list(&ada, None, false)).await, std::slice::from_ref(&read));
    assert_eq!(names(list(&ada, None, true)).await, [read, ("team".to_owned(), None)]);
    assert_eq!(names(list(&ada, Some("team"), false)).await, []);
    assert_eq!(names(list(&ada, Some("team"), true)).await, [("team".to_owned(), None)]);
    assert_eq!(names(list(&ada, Some(hidden.name.as_str()), true)).await, []);
    assert_eq!(names(list(&fixture.admin, None, false)).await.len(), 3);

    let found = catalog.list_namespaces(list(&fixture.admin, Some("a-second"), false)).await.unwrap();
    assert_eq!((found[0].repository_count, found[0].user_count), (0, 2));
}

pub(super) async fn grants_are_all_or_none(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (ada, bob) =
        (user(&catalog, &fixture.account, "ada", false).await, user(&catalog, &fixture.account, "bob", false).await);
    let id = fixture.namespace.id;
    catalog.add_namespace_grants(id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    let both = [(bob.id.clone(), Level::Write), (ada.id.clone(), Level::Write)];
    match catalog.add_namespace_grants(id, &both).await {
        Err(CatalogError::Conflict { what }) => assert_eq!(what, ada.id),
        other => panic!("{other:?}"),
    }
    match catalog.update_namespace_grants(id, &[both[1].clone(), both[0].clone()]).await {
        Err(CatalogError::NotFound { what }) => assert_eq!(what, bob.id),
        other => panic!("{other:?}"),
    }
    let levels = async || -> Vec<(String, Level)> {
        let grants = catalog.namespace_grants(id).await.unwrap();
        grants.into_iter().map(|grant| (grant.user_name, grant.level)).collect()
    };
    assert_eq!(levels().await, [("ada".to_owned(), Level::Read), ("root".to_owned(), Level::Manage)]);
    catalog.update_namespace_grants(id, &[(ada.id.clone(), Level::Manage)]).await.unwrap();
    assert_eq!(levels().await[0].1, Level::Manage);
    let removed = catalog.remove_namespace_grants(id, &[ada.id.clone(), bob.id.clone()]).await;
    assert!(matches!(removed, Err(CatalogError::NotFound { .. })), "{removed:?}");
    assert_eq!(levels().await.len(), 2);
    catalog.remove_namespace_grants(id, std::slice::from_ref(&ada.id)).await.unwrap();
    assert_eq!(levels().await.len(), 1);
    for (namespace, user) in [(id, "nobody"), (99, ada.id.as_str())] {
        let added = catalog.add_namespace_grants(namespace, &[(user.to_owned(), Level::Read)]).await;
        assert!(matches!(added, Err(CatalogError::NotFound { .. })), "{added:?}");
    }

    let id = fixture.repository.id;
    catalog.add_repository_grants(id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    catalog.update_repository_grants(id, &[(ada.id.clone(), Level::Manage)]).await.unwrap();
    let grants = catalog.repository_grants(id).await.unwrap();
    assert_eq!(grants, [Grant { user_id: ada.id.clone(), user_name: "ada".to_owned(), level: Level::Manage }]);
    catalog.remove_repository_grants(id, std::slice::from_ref(&ada.id)).await.unwrap();
    assert_eq!(catalog.repository_grants(id).await.unwrap(), []);
}

pub(super) async fn access_tells_all_at_once(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ada = user(&catalog, &fixture.account, "ada", false).await;
    catalog.add_namespace_grants(fixture.namespace.id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    catalog.add_repository_grants(fixture.repository.id, &[(ada.id.clone(), Level::Write)]).await.unwrap();
    repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;

    let access = catalog.access(&repository_name("team/app"), Some(&ada.id)).await.unwrap();
    assert_eq!(access.namespace.as_ref(), Some(&fixture.namespace));
    assert_eq!(access.repository.as_ref(), Some(&fixture.repository));
    assert_eq!((access.namespace_level, access.repository_level), (Some(Level::Read), Some(Level::Write)));

    let access = catalog.access(&repository_name("team/other"), Some(&ada.id)).await.unwrap();
    assert_eq!((access.namespace_level, access.repository_level), (Some(Level::Read), None));
    let access = catalog.access(&repository_name("team/none"), Some(&ada.id)).await.unwrap();
    assert_eq!((access.repository, access.namespace_level), (None, Some(Level::Read)));
    let access = catalog.access(&repository_name("team/app"), None).await.unwrap();
    assert_eq!((access.repository.is_some(), access.namespace_level, access.repository_level), (true, None, None));
    let access = catalog.access(&repository_name("none/app"), Some(&ada.id)).await.unwrap();
    assert_eq!(access, crate::Access::default());
    assert_eq!(catalog.namespace_access(&namespace_name("none"), None).await.unwrap(), None);
}
