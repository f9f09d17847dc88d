//! The stage of the three printed samples: they copy `group/hello:V1` from `cn-north-4` to `sdsad` in `cn-north-208`,
//! and find their region by the environment variables of their SDK (contract 7.4).

use tokio::process::Command;

use crate::clients;
use crate::image::Image;
use crate::pair::{GROUP, Pair, PairSettings, SDSAD};
use crate::random::Random;

/// Two regions with an image to copy.
#[derive(Debug)]
pub struct Stage {
    /// The regions.
    pub pair: Pair,
    image: Image,
}

impl Stage {
    /// Starts both regions, the source with TLS too, and pushes `group/hello:V1`.
    pub async fn set() -> Self {
        let mut settings = PairSettings::default();
        settings.source.tls = true;
        let pair = Pair::start(settings).await;
        let image = Image::random(&mut Random::seeded(1), 3, 100_000);
        pair.source_registry().push(&format!("{GROUP}/hello"), "V1", &image).await;
        Self { pair, image }
    }

    /// Runs a sample with the keys and this address of the IAM service; returns what it printed.
    pub async fn run(&self, sample: Command, iam: &str) -> String {
        self.run_at(sample, &self.pair.source.url(), iam).await
    }

    /// The same with this address of the service itself too.
    pub async fn run_at(&self, mut sample: Command, service: &str, iam: &str) -> String {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HUAWEICLOUD_") {
                sample.env_remove(name);
            }
        }
        sample.env("CLOUD_SDK_AK", &self.pair.admin.access_key).env("CLOUD_SDK_SK", &self.pair.admin.secret_key);
        sample.env("HUAWEICLOUD_SDK_REGION_SWR_CN_NORTH_4", service);
        sample.env("HUAWEICLOUD_SDK_IAM_ENDPOINT", iam);
        sample.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
        clients::must(sample).await
    }

    /// Checks that the image is in the target, whole, and that one job says so.
    pub async fn check(&self) {
        let jobs = self.pair.manage().jobs(GROUP, "hello").await;
        let told: Vec<(&str, &str)> = jobs.iter().map(|job| (job.tag.as_str(), job.status.as_str())).collect();
        assert_eq!(told, [("V1", "success")]);
        let pulled = self.pair.target_registry().pull(&format!("{SDSAD}/hello"), "V1").await;
        assert_eq!(pulled.digest, self.image.digest());
        assert_eq!(pulled.parts.values().sum::<usize>(), self.image.size_bytes());
    }
}
