//! A small file system of a test's own. It lives in a mount namespace that ends with its value,
//! so nothing stays mounted whatever becomes of the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Process, bare};
use super::{Site, s};

pub struct Mount {
    holder: Process,
    at: PathBuf,
}

impl Mount {
    /// A tmpfs of so many MiB at the site's `disk`; `None`, with the reason printed, where
    /// mounts are not permitted.
    pub fn tmpfs(site: &Site, mib: u64) -> Option<Self> {
        let mount = format!("mount -t tmpfs -o size={mib}m,mode=0755 tmpfs \"$1\"");
        Self::new(site, &mount)
    }

    /// The same with room for so many files.
    pub fn few_files(site: &Site, inodes: u64) -> Option<Self> {
        let mount = format!("mount -t tmpfs -o size=64m,nr_inodes={inodes},mode=0755 tmpfs \"$1\"");
        Self::new(site, &mount)
    }

    /// The same with ext4 in a file.
    pub fn ext4(site: &Site, mib: u64) -> Option<Self> {
        let image = site.path("disk.img");
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(mib << 20).expect("a sparse image");
        let made = (Command::new("mkfs.ext4").args(["-q", "-m", "0"]))
            .arg(&image)
            .output();
        if !made.is_ok_and(|out| out.status.success()) {
            println!("skipped: mkfs.ext4 is not here, or makes nothing");
            return None;
        }
        Self::new(
            site,
            &format!("mount -o loop \"{}\" \"$1\"", image.display()),
        )
    }

    fn new(site: &Site, mount: &str) -> Option<Self> {
        let at = site.path("disk");
        std::fs::create_dir_all(&at).expect("a mount point");
        let script = format!("{mount} && echo mounted at \"$1\" && exec sleep 3600");
        let mut command = bare(Path::new("unshare"));
        command.args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.arg(&at);
        let mut holder = Process::start(&mut command);
        let mounted = super::within(s(20), "a mount", || {
            // What it said first: a process that ends has said all.
            let running = holder.running();
            match holder.output().contains("mounted at") {
                true => Some(true),
                false => (!running).then_some(false),
            }
        });
        if !mounted {
            let why = holder.output();
            println!(
                "skipped: mounts are not permitted here (root may): {}",
                why.trim()
            );
            return None;
        }
        Some(Self { holder, at })
    }

    /// A path on it, as this process reaches it.
    pub fn path(&self, name: &str) -> PathBuf {
        let at = self.at.strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.holder.pid()))
            .join(at)
            .join(name)
    }

    /// The daemon of `site` where the file system is mounted, not started.
    pub fn run(&self, site: &Site) -> Command {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.pid());
        site.run_under("nsenter", &[&namespace, "--"])
    }

    /// What this script says where the file system is mounted; `$1` is its place.
    pub fn shell(&self, script: &str) -> std::process::Output {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.pid());
        let mut command = bare(Path::new("nsenter"));
        command.args([&namespace, "--", "sh", "-c", script, "sh"]);
        command.arg(&self.at).output().expect("nsenter runs")
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.path("")).expect("it is mounted");
        stat.blocks_available() * stat.fragment_size()
    }

    /// Writes a file until only so many bytes are left.
    pub fn fill(&self, name: &str, leave: u64) {
        use std::io::Write;
        let mut file = (std::fs::OpenOptions::new().append(true).create(true))
            .open(self.path(name))
            .expect("a ballast file");
        loop {
            let room = self.free().saturating_sub(leave);
            if room == 0 {
                return;
            }
            let piece = vec![0x5a; usize::try_from(room.min(1 << 20)).expect("a MiB")];
            match file.write(&piece) {
                Ok(n) if n > 0 => {}
                // Full before statvfs says so.
                _ => return,
            }
            // So that ext4 counts it.
            let _ = file.sync_data();
        }
    }
}
