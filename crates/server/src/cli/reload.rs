//! SIGHUP: the file is read again, and what can change without a restart changes.
//!
//! Owns: what happens at a hang-up, and what the log says of it. Never: which settings those are (see `config::Change`).

use std::path::Path;

use tokio::sync::mpsc::UnboundedSender;
use transship_registry::Registry;

use super::limits;
use super::logging::LogControl;
use crate::config::{self, Config, TlsFiles};
use crate::http::server::Server;

/// What can be changed in a running process, and what it runs with.
pub(super) struct Reload<'a> {
    /// The configuration that holds.
    pub(super) config: Config,
    pub(super) registry: &'a Registry,
    pub(super) server: &'a Server,
    pub(super) log: &'a LogControl,
    /// Asks for a look at these certificate files.
    pub(super) certificates: Option<UnboundedSender<TlsFiles>>,
}

impl Reload<'_> {
    /// Reads the file again. One that is not good changes nothing.
    pub(super) fn run(&mut self) {
        if let Some(file) = self.config.file.clone() {
            self.take_over(&file);
        } else {
            tracing::info!(
                "SIGHUP: this process was started without a configuration file, so there is none to read again"
            );
        }
        if let (Some(sender), Some(files)) = (&self.certificates, &self.config.tls) {
            // The receiver lives as long as the process serves.
            let _ = sender.send(files.clone());
        }
    }

    fn take_over(&mut self, file: &Path) {
        let shown = file.display();
        let mut new = match config::load_again(file) {
            Ok(new) => new,
            Err(error) => {
                for problem in &error.problems {
                    let reason = problem.to_string();
                    tracing::error!(file = %shown, reason, "the configuration cannot be used, the old settings stay");
                }
                return;
            }
        };
        if let Ok(data_dir) = std::path::absolute(&new.data_dir) {
            new.data_dir = data_dir;
        }
        let change = self.config.change_to(new);
        let listen = self.registry.settings();
        // Where the region is reached does not change while it runs.
        let mut settings = change.config.settings(change.config.listen);
        settings.public_url.clone_from(&listen.public_url);
        settings.registry_host.clone_from(&listen.registry_host);
        if let Err(reason) = self.registry.change_settings(settings) {
            tracing::error!(file = %shown, reason, "the configuration cannot be used, the old settings stay");
            return;
        }
        self.server.set_limits(limits::of_connections(&change.config));
        // First of all the line that says so, in the old form: whoever reads the log knows from it that the form changes.
        let (taken_over, needs_restart) = (change.taken_over.join(", "), change.needs_restart.join(", "));
        if taken_over.is_empty() && needs_restart.is_empty() {
            tracing::info!(file = %shown, "the configuration was read again; nothing has changed");
        } else {
            tracing::info!(file = %shown, taken_over, needs_restart, "the configuration was read again");
        }
        if !needs_restart.is_empty() {
            tracing::warn!("these settings hold after a restart only: {needs_restart}");
        }
        if change.config.log != self.config.log {
            self.log.change(&change.config.log);
        }
        self.config = change.config;
    }
}
