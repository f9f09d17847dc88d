//! `transship admin immutable-tags`: the tags of a repository that may neither move nor be deleted.

use clap::{Args, Subcommand};
use serde_json::json;
use transship_catalog::ImmutableTags;
use transship_oci::RepositoryName;
use transship_registry::Registry;

use super::Output;

#[derive(Debug, Args)]
pub(super) struct Name {
    /// The repository, `organization/path`
    #[arg(long)]
    repository: RepositoryName,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImmutableTagsCommand {
    /// Show the patterns of a repository
    Show(Name),
    /// Replace the patterns of a repository
    Set {
        #[command(flatten)]
        name: Name,
        /// Tags that match are immutable: `*`, `?`, `[0-9]`, `{a,b}`; may be repeated
        #[arg(long = "tag", value_name = "PATTERN", required = true)]
        tags: Vec<String>,
        /// … unless they match this; may be repeated
        #[arg(long, value_name = "PATTERN")]
        except: Vec<String>,
    },
    /// Let every tag of a repository move again
    Clear(Name),
}

pub(super) async fn run(registry: &Registry, output: Output, command: ImmutableTagsCommand) -> anyhow::Result<()> {
    let name = match command {
        ImmutableTagsCommand::Show(name) => name.repository,
        ImmutableTagsCommand::Set { name, tags, except } => {
            let patterns = ImmutableTags::new(tags, except).map_err(anyhow::Error::msg)?;
            registry.content().set_immutable_tags(&name.repository, &patterns).await?;
            name.repository
        }
        ImmutableTagsCommand::Clear(name) => {
            registry.content().set_immutable_tags(&name.repository, &ImmutableTags::default()).await?;
            name.repository
        }
    };
    let patterns = registry.content().immutable_tags(&name).await?;
    let row = json!({
        "repository": name.to_string(),
        "immutable": patterns.tags().join(" "),
        "except": patterns.except().join(" "),
    });
    output.one(&["repository", "immutable", "except"], row)
}
