//! Two regions that know each other: the stage of nearly every test. The names are those of the printed samples.

use crate::manage::{Manage, User};
use crate::region::{ACCOUNT, Region, RegionSettings};
use crate::registry::Registry;
use crate::wan::{Wan, WanSettings};

/// The source region of the samples.
pub const SOURCE: &str = "cn-north-4";
/// The target region of the samples.
pub const TARGET: &str = "cn-north-208";
/// The source organization.
pub const GROUP: &str = "group";
/// The target organization of the samples.
pub const SDSAD: &str = "sdsad";

/// What a test wants beyond two plain regions.
#[derive(Clone, Debug)]
pub struct PairSettings {
    /// The source region.
    pub source: RegionSettings,
    /// The target region.
    pub target: RegionSettings,
    /// A link between them, on the way from source to target.
    pub wan: Option<WanSettings>,
    /// Ordinary users that both regions know.
    pub users: Vec<User>,
}

impl Default for PairSettings {
    fn default() -> Self {
        Self {
            source: RegionSettings::named(SOURCE),
            target: RegionSettings::named(TARGET),
            wan: None,
            users: Vec::new(),
        }
    }
}

impl PairSettings {
    /// Two plain regions, in which `sync_images` answers after at most this many seconds.
    pub fn waiting(sync_wait_seconds: u32) -> Self {
        let mut settings = Self::default();
        settings.source.sync_wait_seconds = sync_wait_seconds;
        settings
    }

    /// With this link between them.
    #[must_use]
    pub fn over(mut self, wan: WanSettings) -> Self {
        self.wan = Some(wan);
        self
    }
}

/// Two regions that trust each other, with the organizations `group` in the source and `sdsad` in the target.
#[derive(Debug)]
pub struct Pair {
    /// Where images are pushed.
    pub source: Region,
    /// Where they are copied to.
    pub target: Region,
    /// The administrator of the account, the same in both.
    pub admin: User,
    /// The link between them.
    pub wan: Option<Wan>,
}

impl Pair {
    /// Starts both.
    pub async fn start(settings: PairSettings) -> Self {
        let admin = User::named("admin");
        let mut source = Region::prepare(settings.source, &admin).await;
        let mut target = Region::prepare(settings.target, &admin).await;
        let wan = match &settings.wan {
            Some(link) => Some(Wan::start(&target.host(), link).await),
            None => None,
        };
        let target_url = wan.as_ref().map_or_else(|| target.url(), Wan::url);
        source.trust(&target, &target_url).await;
        target.trust(&source, &source.url()).await;
        tokio::join!(source.start(), target.start());
        if !settings.users.is_empty() {
            // The first start makes the account. More users are added on the command line, while the region is stopped.
            for region in [&mut source, &mut target] {
                region.terminate().await;
                for user in &settings.users {
                    region.add_user(ACCOUNT, user).await;
                }
                region.start().await;
            }
        }
        source.manage(&admin).create_namespace(GROUP).await;
        target.manage(&admin).create_namespace(SDSAD).await;
        Self { source, target, admin, wan }
    }

    /// The source's management API for the administrator.
    pub fn manage(&self) -> Manage {
        self.source.manage(&self.admin)
    }

    /// The source's registry for the administrator.
    pub fn source_registry(&self) -> Registry {
        self.source.registry(&self.admin)
    }

    /// The target's registry for the administrator.
    pub fn target_registry(&self) -> Registry {
        self.target.registry(&self.admin)
    }
}
