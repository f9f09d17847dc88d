//! `transship admin quota`: usage and quotas of organizations.

use std::str::FromStr;

use clap::Subcommand;
use serde_json::{Value, json};
use transship_catalog::{Limit, NamespaceUsage, Resource};
use transship_oci::NamespaceName;
use transship_registry::Registry;

use super::Output;

#[derive(Debug, Subcommand)]
pub(super) enum QuotaCommand {
    /// List what every organization uses and may use
    List,
    /// Say what an organization may use; what is left out stays as it was
    Set {
        /// The organization
        #[arg(long)]
        namespace: NamespaceName,
        /// Bytes of its blobs, manifests and open uploads: a number, with KiB, MiB, GiB or TiB; `unlimited`; `default`
        #[arg(long)]
        bytes: Option<Amount>,
        /// Repositories: a number, `unlimited` or `default`
        #[arg(long)]
        repositories: Option<Amount>,
        /// Tags: a number, `unlimited` or `default`
        #[arg(long)]
        tags: Option<Amount>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount(Limit);

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = match text {
            "default" => Limit::Default,
            "unlimited" => Limit::Unlimited,
            _ => {
                let units = [("KiB", 1_i64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
                let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
                let (digits, factor) = unit.unwrap_or((text, 1));
                let number = digits.parse::<i64>().ok().filter(|number| *number >= 0);
                let number = number.and_then(|number| number.checked_mul(factor));
                Limit::At(number.ok_or("expected a number such as 500 or 20GiB, `unlimited` or `default`")?)
            }
        };
        Ok(Self(limit))
    }
}

pub(super) async fn run(registry: &Registry, output: Output, command: QuotaCommand) -> anyhow::Result<()> {
    let columns = ["namespace", "bytes", "of_bytes", "repositories", "of_repositories", "tags", "of_tags"];
    match command {
        QuotaCommand::List => {
            output.many(&columns, registry.content().namespace_usages().await?.iter().map(describe).collect())
        }
        QuotaCommand::Set { namespace, bytes, repositories, tags } => {
            let all = [(Resource::Bytes, bytes), (Resource::Repositories, repositories), (Resource::Tags, tags)];
            let limits: Vec<_> = all.into_iter().filter_map(|(what, amount)| Some((what, amount?.0))).collect();
            anyhow::ensure!(!limits.is_empty(), "give at least one of --bytes, --repositories and --tags");
            output.one(&columns, describe(&registry.content().set_quotas(&namespace, &limits).await?))
        }
    }
}

fn describe(usage: &NamespaceUsage) -> Value {
    let mut row = json!({ "namespace": usage.namespace.to_string() });
    for one in &usage.usage {
        row[one.resource.to_string()] = json!(one.used);
        row[format!("of_{}", one.resource)] = json!(one.limit);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::{Amount, Limit};

    #[test]
    fn amounts() {
        for (text, limit) in [
            ("0", Limit::At(0)),
            ("500", Limit::At(500)),
            ("20GiB", Limit::At(20 << 30)),
            ("unlimited", Limit::Unlimited),
            ("default", Limit::Default),
        ] {
            assert_eq!(text.parse(), Ok(Amount(limit)), "{text}");
        }
        for text in ["", "-1", "1.5GiB", "10GB", "GiB", "9223372036854775807KiB", "none"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }
}
