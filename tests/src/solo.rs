//! One region with an organization, its administrator, and a reader who may pull there and nothing else: the stage of
//! the tests that are about one client and one registry.

use serde_json::json;

use crate::clients::{Client, Layout};
use crate::manage::{User, repository_path};
use crate::pair::{GROUP, SOURCE};
use crate::region::{ACCOUNT, Region, RegionSettings};
use crate::registry::{Registry, login_of};

/// One region and two people.
#[derive(Debug)]
pub struct Solo {
    /// The region.
    pub region: Region,
    /// The administrator of the account.
    pub admin: User,
    /// May read the organization `group`.
    pub reader: User,
}

impl Solo {
    /// Starts a plain region.
    pub async fn start() -> Self {
        Self::start_as(RegionSettings::named(SOURCE)).await
    }

    /// Starts a region with these settings.
    pub async fn start_as(settings: RegionSettings) -> Self {
        let (admin, reader) = (User::named("admin"), User::named("reader"));
        let mut region = Region::prepare(settings, &admin).await;
        // The first start makes the account. More users are added on the command line, while the region is stopped.
        region.start().await;
        region.terminate().await;
        region.add_user(ACCOUNT, &reader).await;
        region.start().await;
        let manage = region.manage(&admin);
        manage.create_namespace(GROUP).await;
        manage.grant_namespace(GROUP, &[(&region.user_id(&reader).await, &reader.name, 1)]).await;
        Self { region, admin, reader }
    }

    /// The region's registry for the administrator, without a client in between.
    pub fn registry(&self) -> Registry {
        self.region.registry(&self.admin)
    }

    /// User and password of the administrator, by the access key.
    pub fn login(&self) -> (String, String) {
        login_of(self.region.id(), &self.admin)
    }

    /// User and password of the reader.
    pub fn reader_login(&self) -> (String, String) {
        login_of(self.region.id(), &self.reader)
    }

    /// `127.0.0.1:<port>/group/<name>`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{GROUP}/{name}", self.region.host())
    }

    /// Makes this repository of the organization public.
    pub async fn publish(&self, repository: &str) {
        let path = repository_path(GROUP, repository);
        self.region.manage(&self.admin).call("PATCH", &path, Some(json!({"is_public": true}))).await.expect(201);
    }

    /// Three platforms under one index, as a layout, and pushed with skopeo as `group/<repository>:v1`. For tests of
    /// clients that read and do not push layouts.
    pub async fn push_index(&self, repository: &str) -> Layout {
        let layout = Layout::make("multi", &["--platforms", "3", "--layer-mib", "1"]).await;
        let (user, password) = self.login();
        let to = format!("docker://{}", self.name(&format!("{repository}:v1")));
        let creds = format!("{user}:{password}");
        let flags = ["copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds"];
        Client::new("skopeo").must(&[&flags[..], &[&creds, &layout.skopeo("latest"), &to]].concat()).await;
        layout
    }
}
