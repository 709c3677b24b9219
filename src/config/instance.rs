//! One daemon of several on a machine: a name that gives each its own file, sockets, queue and
//! token where its file does not say otherwise.

use std::path::{Path, PathBuf};

use super::token::DEFAULT_TOKEN_FILE;

/// Where the files of all instances are.
const FOLDER: &str = "/etc/pinrelay";

/// Bytes of a name: the paths of its sockets have to fit.
const LONGEST: usize = 64;

/// The instance's name, as in `pinrelay@NAME.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// Takes a name that can stand in a path and in a unit's name as it is.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn parse(name: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let fits = (1..=LONGEST).contains(&name.len());
        match fits && !name.starts_with('-') && name.chars().all(plain) {
            true => Ok(Self(name.to_owned())),
            false => Err(format!(
                "a name of letters, digits, - and _, of at most {LONGEST} bytes"
            )),
        }
    }

    /// The instance that runs on this file of the folder of configs; `None`: the plain one.
    pub fn of_file(file: &Path) -> Option<Self> {
        let name = file.file_stem()?.to_str()?;
        let instance = Self::parse(name).ok()?;
        (name != "pinrelay").then_some(instance)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// `/etc/pinrelay/NAME.toml`.
    pub fn file(&self) -> PathBuf {
        Path::new(FOLDER).join(format!("{}.toml", self.0))
    }

    /// `/etc/pinrelay/NAME.token`, read where nothing else is named.
    pub fn token_file(&self) -> PathBuf {
        Path::new(DEFAULT_TOKEN_FILE).with_file_name(format!("{}.token", self.0))
    }

    /// `/run/pinrelay/NAME/ingest.sock`, where the instance takes events.
    pub fn ingest_socket(&self) -> PathBuf {
        format!("/run/pinrelay/{}/ingest.sock", self.0).into()
    }

    /// `/run/pinrelay/NAME/http.sock`, where it takes them by HTTP.
    pub fn http_socket(&self) -> PathBuf {
        self.ingest_socket().with_file_name("http.sock")
    }

    /// `/run/pinrelay/NAME/admin.sock`, where the instance is asked.
    pub fn admin_socket(&self) -> PathBuf {
        format!("/run/pinrelay/{}/admin.sock", self.0).into()
    }

    /// What stands in place of the defaults of these keys.
    pub(super) fn defaults(&self) -> [(&'static str, &'static str, String); 3] {
        let name = &self.0;
        let text = |path: PathBuf| path.display().to_string();
        [
            ("ingest", "socket", text(self.ingest_socket())),
            ("admin", "socket", text(self.admin_socket())),
            ("queue", "path", format!("/var/lib/pinrelay/{name}/queue")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::read::read_as;

    fn shop(text: &str, env: &[(&str, &str)]) -> Config {
        let shop = Instance::parse("shop").expect("a name");
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        read_as(Some((&shop.file(), text)), env, Some(&shop)).expect("a config")
    }

    #[test]
    fn an_instance_has_places_of_its_own_unless_it_is_told_otherwise() {
        let config = shop("", &[]);
        let at = Path::new;
        assert_eq!(config.file.as_deref(), Some(at("/etc/pinrelay/shop.toml")));
        assert_eq!(config.ingest.socket, at("/run/pinrelay/shop/ingest.sock"));
        assert_eq!(config.admin.socket, at("/run/pinrelay/shop/admin.sock"));
        let http = Some(Instance::parse("shop").expect("a name").http_socket());
        assert_eq!(http.as_deref(), Some(at("/run/pinrelay/shop/http.sock")));
        assert_eq!(config.ingest.http_socket, http);
        assert_eq!(config.queue_folder(), at("/var/lib/pinrelay/shop/queue"));
        assert_eq!(config.token.default_file, at("/etc/pinrelay/shop.token"));
        let test = shop("[pinterest]\ntest = true\n", &[]);
        assert_eq!(test.queue_folder(), at("/var/lib/pinrelay/shop/queue-test"));
        let told = shop(
            "[queue]\npath = \"/a\"\n[admin]\nsocket = \"/b\"\n",
            &[("PINRELAY_ADMIN__SOCKET", "/c")],
        );
        assert_eq!(told.queue.path, at("/a"));
        assert_eq!(told.admin.socket, at("/c"));
        let moved = told.needs_restart(&config);
        let moved: Vec<_> = moved.iter().map(ToString::to_string).collect();
        assert_eq!(moved[0], "queue.path: /a → /var/lib/pinrelay/shop/queue");
    }

    #[test]
    fn names_are_plain() {
        for bad in ["", "a/b", "..", "a.b", "-a", "a b", "é", "a@b"] {
            assert!(Instance::parse(bad).is_err(), "{bad}");
        }
        let of = |file: &str| Instance::of_file(Path::new(file)).map(|i| i.name().to_owned());
        assert_eq!(of("/etc/pinrelay/shop-2.toml").as_deref(), Some("shop-2"));
        assert_eq!(of("/etc/pinrelay/pinrelay.toml"), None);
    }
}
