//! Copies of a running server: standbys that follow it, and backups.

use std::path::Path;

use super::{PATIENCE, Server, programs};

/// What a server held at one time. Outlives it.
pub struct Backup {
    folder: tempfile::TempDir,
}

impl Server {
    /// A standby that follows this server under this name, which `synchronous_standby_names` may
    /// list. It has this one's settings, but asks for no standby itself. It is there when this
    /// returns, and receives what is written.
    pub fn standby(&self, name: &str) -> Server {
        let settings = self.settings().clone();
        let standby = Server::new(self.programs.clone(), std::iter::empty());
        *standby.settings() = settings;
        standby.follow(self, name);
        standby
    }

    /// Becomes a standby of that server, under this name and its own address, by a new copy: what it
    /// had is no part of the other's history, perhaps.
    pub fn follow(&self, primary: &Server, name: &str) {
        self.stop();
        self.clear();
        self.settings().remove("synchronous_standby_names");
        let conninfo = format!(
            "host=127.0.0.1 port={} user=postgres application_name={name}",
            primary.port()
        );
        self.settings().insert("primary_conninfo".into(), conninfo);
        primary.copy_to(&self.data());
        let mut touch = self.programs.by_owner(Path::new("touch"));
        programs::run(touch.arg(self.data().join("standby.signal")));
        self.restart();
        primary.followed_by(name);
    }

    /// Waits until a standby of this name receives what is written.
    pub fn followed_by(&self, name: &str) {
        let state = format!(
            "SELECT count(*) FROM pg_stat_replication \
             WHERE application_name = '{name}' AND state = 'streaming'"
        );
        self.shows("a standby that follows", &state, |count| count == "1");
    }

    /// Demands that each commit has reached the disk of this standby. It holds for those that
    /// begin after this.
    pub fn wait_for(&self, name: &str) {
        self.set("synchronous_standby_names", name);
        let state = format!(
            "SELECT count(*) FROM pg_stat_replication \
             WHERE application_name = '{name}' AND sync_state IN ('sync', 'quorum')"
        );
        self.shows("a synchronous standby", &state, |count| count == "1");
    }

    /// Makes a standby the server that takes writes, which it does when this returns.
    pub fn promote(&self) {
        let seconds = PATIENCE.as_secs();
        let promoted = self.value(&format!("SELECT pg_promote(true, {seconds})"));
        assert_eq!(promoted, "t", "it is not promoted");
    }

    /// A base backup.
    pub fn backup(&self) -> Backup {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some((user, group)) = self.programs.user() {
            let given = std::os::unix::fs::chown(folder.path(), Some(user), Some(group));
            given.expect("root gives it away");
        }
        self.copy_to(&folder.path().join("data"));
        Backup { folder }
    }

    /// Puts a backup in the place of what it has, and starts it so, under the same address.
    pub fn restore(&self, backup: &Backup) {
        self.stop();
        self.clear();
        let mut copy = self.programs.by_owner(Path::new("cp"));
        copy.args(["-a", "--reflink=auto"]);
        programs::run(copy.arg(backup.folder.path().join("data")).arg(self.data()));
        self.restart();
    }

    fn clear(&self) {
        let mut remove = self.programs.by_owner(Path::new("rm"));
        programs::run(remove.arg("-rf").arg(self.data()));
    }

    fn copy_to(&self, data: &Path) {
        let mut copy = self.programs.command("pg_basebackup");
        copy.args(["--no-sync", "-c", "fast", "-X", "stream", "-U", "postgres"]);
        copy.arg("-h").arg(self.folder());
        copy.args(["-p", &self.port().to_string(), "-D"]);
        programs::run(copy.arg(data));
    }
}
