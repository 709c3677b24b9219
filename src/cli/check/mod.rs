//! `pinrelay check`: what is wrong with a configuration, and what to do about it, before a
//! daemon meets it. `queue_folder` looks at the queue's, or `database` at its schema, `places` at sockets, groups and files,
//! `ports` at TCP, `access` at who could read what is the daemon's alone, `http` at keys and certificate, `instances` at the other daemons of this machine, `tag` at the Pinterest Tag beside us.

use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::geteuid;

use super::config_arg::ConfigArg;
use super::exit::{Exit, OrExit, Outcome};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Engine, TokenSource, process_env, show_duration};
use crate::files::check_roots;
use crate::lifecycle::check_log_filter;
use crate::transform::Hashing;

mod access;
mod database;
mod finding;
mod http;
mod instances;
mod online;
mod places;
mod ports;
mod queue_folder;
mod tag;

pub(super) use finding::print;

use finding::Finding::{self, Advice, Fine, Wrong};
use finding::print_json;
use places::{admin_group, group, sockets, webhook};

/// `TimeoutStopSec` of the shipped unit, less the time to close after a drain.
const LONGEST_DRAIN: Duration = Duration::from_secs(35);

/// Flags of `pinrelay check`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 the daemon can run with this · 78 it cannot, each reason is named

Examples:
  sudo -u pinrelay pinrelay check
  sudo -u pinrelay pinrelay check --online")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Also send one synthetic event with ?test=true, which Pinterest checks and does not
    /// record, and say in words what its answer means.
    #[arg(long)]
    online: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints what it finds; exit 78 if anything would keep the daemon from running.
pub fn run(args: Args) -> Outcome {
    let findings = findings(&args.config, args.online);
    let wrong = match args.json {
        true => print_json(&findings),
        false => print(&findings),
    }
    .or_exit(Exit::Io)?;
    Ok(if wrong == 0 { Exit::Ok } else { Exit::Config })
}

/// Everything that can be said of this config; `online`: with a test event, if nothing else is
/// wrong.
pub(super) fn findings(config: &ConfigArg, online: bool) -> Vec<Finding> {
    let config = match config.load(process_env()) {
        Ok(config) => config,
        Err(error) => return problems(&error),
    };
    let mut findings = examine(&config);
    if online && !findings.iter().any(Finding::is_wrong) {
        let now = Clock::system().now().div_euclid(1000);
        findings.append(&mut online::findings(&config, now));
    } else if online {
        let text = "online: nothing was sent; mend what is wrong first";
        findings.push(Advice(text.to_owned()));
    }
    findings
}

/// Every problem of a config that cannot be read.
fn problems(error: &ConfigError) -> Vec<Finding> {
    match error {
        ConfigError::Invalid(problems) => problems.iter().map(|p| Wrong(p.to_string())).collect(),
        ConfigError::Unreadable { .. }
        | ConfigError::MachineId { .. }
        | ConfigError::DatabaseUrl(_) => vec![Wrong(error.to_string())],
    }
}

/// Looks at everything a start would stumble over.
fn examine(config: &Config) -> Vec<Finding> {
    let mut found = vec![match &config.file {
        Some(file) => Fine(format!("configuration {}", file.display())),
        None => Advice("no configuration file: defaults and environment variables alone".into()),
    }];
    match config.require_run() {
        Ok(_) => found.extend(destination(config)),
        Err(error) => found.append(&mut problems(&error)),
    }
    match config.transform() {
        Ok(transform) => {
            found.extend(transform.warnings().into_iter().map(Advice));
            found.extend(tag::findings(config, &transform));
        }
        Err(error) => found.append(&mut problems(&error)),
    }
    match config.policy() {
        Ok(policy) => found.extend(policy.warnings().into_iter().map(Advice)),
        Err(error) => found.append(&mut problems(&error)),
    }
    if let Err(error) = config.machine_id() {
        found.append(&mut problems(&error));
    }
    let token = token(config, &mut found);
    found.extend(group(&config.ingest));
    found.extend(admin_group(config));
    let url = database::url(config, &mut found);
    let secrets = token.into_iter().chain(url).collect();
    found.extend(access::findings(config, secrets));
    let now = u64::try_from(Clock::system().now()).unwrap_or(0);
    found.extend(http::findings(config, Duration::from_millis(now)));
    match config.queue.engine {
        Engine::Sled => found.extend(queue_folder::findings(config)),
        Engine::Postgres => found.extend(database::findings(config)),
    }
    found.extend(database::unused(config));
    found.extend(sockets(config));
    found.extend(ports::findings(config));
    found.extend(log(config));
    found.extend(relative(config));
    found.extend(config.notify.webhook_url_file.as_deref().map(webhook));
    if geteuid().is_root() {
        found.push(Advice(
            "looked at as root, whom file modes do not bind: run it as the daemon's user, \
             `sudo -u pinrelay pinrelay check`, to be sure of token and queue"
                .into(),
        ));
    }
    found.extend(instances::compare(config));
    found.extend(ca_store(config));
    surprises(config, &mut found);
    found
}

/// Where events go, and loudly so if that is not Pinterest.
fn destination(config: &Config) -> Vec<Finding> {
    let destination = config.destination();
    let mut found = vec![Fine(format!("events go to: {destination}"))];
    if let Some(from) = &destination.elsewhere {
        found.push(Advice(format!(
            "EVENTS DO NOT GO TO PINTEREST: base_url is {} and comes from {from}; take it out, \
             unless this is a test",
            config.pinterest.base_url.as_str()
        )));
    }
    found
}

/// What `RUST_LOG` and the config make of the log.
fn log(config: &Config) -> Option<Finding> {
    let wrong = check_log_filter(config.log.level).err()?;
    Some(Wrong(wrong.to_string()))
}

/// Paths whose meaning depends on where a command is started.
fn relative(config: &Config) -> Option<Finding> {
    let keys = config.relative_paths();
    let here = std::env::current_dir().unwrap_or_default();
    (!keys.is_empty()).then(|| {
        Advice(format!(
            "{} counts from the folder that a command is started in, here {}, and / in the shipped \
             service: write the whole path, from / on",
            keys.join(", "),
            here.display()
        ))
    })
}

/// Gives its file, if it is in one.
fn token(config: &Config, found: &mut Vec<Finding>) -> Option<PathBuf> {
    let read = match config.token.read() {
        Ok(read) => read,
        Err(error) => {
            found.push(Wrong(error.to_string()));
            return None;
        }
    };
    match &read.file {
        Some(file) => {
            let changes = match read.source {
                TokenSource::Credential => {
                    "a credential, which stays as it was when the service started: see \
                     systemd/loadcredential for a restart by itself"
                }
                TokenSource::File | TokenSource::Variable => {
                    "a change of it reaches the running daemon by itself"
                }
            };
            found.push(Fine(format!("access token in {}; {changes}", file.display())));
            if read.exposed {
                found.push(Advice(format!(
                    "{0} can be read by every user: chmod 0640 {0}",
                    file.display()
                )));
            }
        }
        None => found.push(Advice(
            "the access token comes from the environment, which other programs of the same user \
             can read, and a change of it takes a restart: a file, /etc/pinrelay/token, is safer and \
             is followed"
                .into(),
        )),
    }
    read.file
}

fn ca_store(config: &Config) -> Option<Finding> {
    if !config.pinterest.base_url.is_https() {
        return None;
    }
    if let Err(said) = check_roots() {
        return Some(Wrong(format!(
            "{said}; name a file of certificates there, or unset it"
        )));
    }
    let store = rustls_native_certs::load_native_certs();
    Some(match store.certs.len() {
        0 => Wrong(
            "no certificate authorities were found, without which Pinterest cannot be told from \
             anyone else: install ca-certificates, or set SSL_CERT_FILE"
                .into(),
        ),
        n => Fine(format!("{n} certificate authorities")),
    })
}

/// What is allowed, and surprises some.
fn surprises(config: &Config, found: &mut Vec<Finding>) {
    let pinterest = &config.pinterest;
    if let Some(name) = &pinterest.app_name {
        let by_convention = name
            .strip_prefix("ss-")
            .is_some_and(|rest| !rest.is_empty() && !name.chars().any(char::is_uppercase));
        if !by_convention && name != "direct" {
            found.push(Advice(
                "app_name is sent as partner_name; Pinterest's convention is \"ss-<name>\" in \
                 lower case, or \"direct\""
                    .into(),
            ));
        }
    }
    if config.user_data.hashing == Hashing::Raw {
        found.push(Advice(
            "user_data is sent as it comes, not hashed; [user_data] hashing = \"sha256\" changes \
             that"
                .into(),
        ));
    }
    found.push(Fine(format!(
        "events without a currency are taken to be in {} ([pinterest] default_currency)",
        pinterest.default_currency
    )));
    if pinterest.test {
        found.push(Advice(
            "test mode: Pinterest checks the events and records none of them, and the queue is one \
             of its own; remove [pinterest] test = true to go live"
                .into(),
        ));
    }
    let drain = config.delivery.drain_deadline;
    if drain > LONGEST_DRAIN {
        found.push(Advice(format!(
            "drain_deadline is {}: systemd ends the shipped service 40s after the stop, or 30s \
             after deliveries no longer get on; raise TimeoutStopSec above it (`systemctl edit pinrelay`)",
            show_duration(drain)
        )));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use tempfile::TempDir;

    use super::places::nearest;
    use super::*;
    use crate::config::load;
    use std::fs;

    struct Setting {
        folder: TempDir,
        text: String,
    }

    impl Setting {
        /// A config with which a daemon can run.
        fn good() -> Self {
            let folder = TempDir::new().expect("a folder");
            let at = folder.path().display().to_string();
            let token = folder.path().join("token");
            fs::write(&token, "pina_SECRET\n").expect("a token");
            fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("a mode");
            let text = format!(
                "[pinterest]\nad_account_id = \"1\"\napp_name = \"ss-shop\"\n\
                 token_file = \"{at}/token\"\nbase_url = \"http://127.0.0.1:1\"\n\
                 [ingest]\nsocket = \"{at}/in\"\ngroup = \"\"\n[admin]\nsocket = \"{at}/admin\"\n\
                 [queue]\npath = \"{at}/a/b/queue\"\n[user_data]\nhashing = \"sha256\"\n"
            );
            Self { folder, text }
        }

        fn with(mut self, from: &str, to: &str) -> Self {
            assert!(self.text.contains(from), "{from}");
            self.text = self.text.replace(from, to);
            self
        }

        fn findings(&self) -> Vec<Finding> {
            let file = self.folder.path().join("pinrelay.toml");
            fs::write(&file, &self.text).expect("a file");
            match load(Some(&file), std::iter::empty()) {
                Ok(config) => examine(&config),
                Err(error) => problems(&error),
            }
        }

        /// Everything that is not fine, but for what depends on who runs the test.
        fn remarks(&self) -> Vec<String> {
            let said = self.findings().into_iter().filter_map(|f| match f {
                Fine(_) => None,
                Advice(text) if text.starts_with("looked at as root") => None,
                // No test goes to Pinterest.
                Advice(text) if text.starts_with("EVENTS DO NOT GO TO PINTEREST") => None,
                Advice(text) => Some(format!("advice: {text}")),
                Wrong(text) => Some(format!("wrong: {text}")),
            });
            said.collect()
        }

        fn only_fine(&self) {
            assert_eq!(self.remarks(), [""; 0]);
        }

        fn only(&self, start: &str) {
            let remarks = self.remarks();
            assert!(
                remarks.len() == 1 && remarks[0].starts_with(start),
                "{start}: {remarks:#?}"
            );
            assert!(!format!("{remarks:?}").contains("SECRET"));
        }
    }

    #[test]
    fn a_good_setting_has_no_remarks() {
        let good = Setting::good();
        assert_eq!(good.remarks(), [""; 0]);
        // Looking changes nothing.
        assert!(!good.folder.path().join("a").exists());
    }

    #[test]
    fn what_keeps_a_daemon_from_running_is_wrong() {
        Setting::good()
            .with("app_name = \"ss-shop\"", "")
            .only("wrong: configuration: `app_name` is not set");
        let missing = Setting::good().with("/token\"", "/tokn\"");
        missing.only("wrong: the token file");
        let broken = Setting::good().with("hashing =", "hasing =");
        assert!(broken.remarks()[0].contains("did you mean `hashing`?"));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_database_is_looked_at_in_place_of_a_folder() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let with_url = |url: &str, mode: u32| {
            let setting = Setting::good();
            let file = setting.folder.path().join("url");
            fs::write(&file, url).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            let keys = format!(
                "[postgres]\nurl_file = \"{}\"\n[queue]\nengine = \"postgres\"\n#",
                file.display()
            );
            setting.with("[queue]\n", &keys)
        };
        let url = format!("postgres://SECRET:SECRET@127.0.0.1:{port}/shop");
        // Nobody is there: a daemon would wait.
        let away = with_url(&url, 0o600);
        away.only("advice: the database is away");
        let fine = Fine(format!(
            "queue in schema pinrelay at 127.0.0.1:{port}, database shop"
        ));
        assert!(away.findings().contains(&fine));
        let exposed = with_url(&url, 0o604).remarks();
        assert!(
            exposed[0].contains("holds a password: chmod 0640"),
            "{exposed:?}"
        );
        with_url("postgres://SECRET@127.0.0.1/", 0o600).only("wrong: the database's URL names no");
        with_url("", 0o600).only("wrong: ");
        let both = with_url(&url, 0o600).with("#path", "path").remarks();
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(
            both[1].starts_with("advice: queue.path does not count"),
            "{both:?}"
        );
        let idle = Setting::good().with("[queue]", "[postgres]\nlease = \"5s\"\n[queue]");
        idle.only("advice: postgres.lease does not count with [queue] engine = \"sled\"");
    }

    #[test]
    fn mappings_are_tried_and_named_by_their_line() {
        let mapping = |source: &str, destination: &str| {
            let text = format!(
                "[[mappings]]\nsource = \"{source}\"\ndestination = \"{destination}\"\n[queue]"
            );
            Setting::good().with("[queue]", &text)
        };
        mapping("properties.tier", "properties.tier").only_fine();
        mapping("properties.email", "properties.contact").only("advice: mappings[1]: source");
        let refused = mapping("properties.tier", "properties.sku");
        let remarks = refused.remarks();
        assert!(
            remarks[0].contains("pinrelay.toml:11: mappings[1].destination"),
            "{remarks:?}"
        );
    }

    #[test]
    fn what_the_tag_beside_us_names_otherwise_is_told_with_its_cure() {
        let with_tag = |tag: &str, more: &str| {
            let pinterest = format!("[pinterest]\ntag = \"{tag}\"\n");
            let names = format!("{more}[queue]");
            Setting::good()
                .with("[pinterest]\n", &pinterest)
                .with("[queue]", &names)
        };
        let chord = with_tag("chord", "").remarks();
        assert_eq!(chord.len(), 5, "{chord:#?}");
        for cure in [
            r#""Product List Viewed" = "view_category""#,
            r#""Products List Filtered" = "search""#,
            r#""Product Viewed" = "Product Viewed""#,
            r#""Checkout Started" = "Checkout Started""#,
            r#""Product Added to Wishlist" = "Product Added to Wishlist""#,
        ] {
            let told = |said: &&String| said.contains(cure) && said.contains("counts it twice");
            assert_eq!(chord.iter().filter(told).count(), 1, "{cure}: {chord:#?}");
        }
        // The lines, written down as they are told, are a config that is cured.
        let lines = chord.iter().map(|said| {
            let line = said.split_once("for one name: ").unwrap().1;
            let line = line.split_once(" (a custom").map_or(line, |(line, _)| line);
            format!("{line}\n")
        });
        let names = format!("[event_names]\n{}", lines.collect::<String>());
        with_tag("chord", &names).only_fine();
        with_tag("custom", "").only("advice: tag = \"custom\", and nothing can be compared");
        let names = "[tag_names]\n\"Product Viewed\" = \"ViewContent\"\n";
        with_tag("custom", names).only_fine();
    }

    #[test]
    fn the_queue_has_to_be_a_folder_that_can_be_used() {
        let setting = Setting::good();
        fs::write(setting.folder.path().join("a"), "").expect("a file in the way");
        setting.only("wrong: the queue");
        let setting = Setting::good();
        fs::create_dir_all(setting.folder.path().join("a/b")).expect("folders");
        fs::write(setting.folder.path().join("a/b/queue"), "").expect("a file in its place");
        setting.only("wrong: the queue");
        if !geteuid().is_root() {
            let setting = Setting::good();
            let closed = fs::Permissions::from_mode(0o500);
            fs::create_dir(setting.folder.path().join("a")).expect("a folder");
            fs::set_permissions(setting.folder.path().join("a"), closed).expect("a mode");
            setting.only("wrong: the queue folder");
        }
        assert_eq!(nearest(Path::new("surely/not/there")), Some(Path::new(".")));
    }

    #[test]
    fn what_surprises_is_advised() {
        Setting::good()
            .with("\"ss-shop\"", "\"Shop\"")
            .only("advice: app_name is sent as");
        Setting::good()
            .with("\"ss-shop\"", "\"ss-\"")
            .only("advice: app_name is sent as");
        assert_eq!(
            Setting::good().with("\"ss-shop\"", "\"direct\"").remarks(),
            [""; 0]
        );
        Setting::good()
            .with("sha256", "raw")
            .only("advice: user_data is sent as it comes");
        Setting::good()
            .with("[ingest]", "test = true\n[ingest]")
            .only("advice: test mode");
        Setting::good()
            .with("[queue]", "[delivery]\ndrain_deadline = \"36s\"\n[queue]")
            .only("advice: drain_deadline is 36s");
        Setting::good()
            .with("group = \"\"", "group = \"surely-no-such-group\"")
            .only("advice: there is no group");
        Setting::good()
            .with("/in\"", "/nowhere/in\"")
            .only("advice: ");
        let open = Setting::good();
        let token = open.folder.path().join("token");
        fs::set_permissions(token, fs::Permissions::from_mode(0o644)).expect("a mode");
        open.only("advice: ");
    }

    #[test]
    fn where_events_go_is_said_and_elsewhere_loudly() {
        let said = format!("{:?}", Setting::good().findings());
        assert!(
            said.contains("events go to: POST http://127.0.0.1:1/… for ad account 1"),
            "{said}"
        );
        assert!(said.contains("EVENTS DO NOT GO TO PINTEREST"), "{said}");
        assert!(said.contains("pinrelay.toml:5"), "{said}");
        let theirs = Setting::good().with("base_url = \"http://127.0.0.1:1\"\n", "");
        let said = format!("{:?}", theirs.findings());
        assert!(
            said.contains("POST https://api.pinterest.com/v5/… for"),
            "{said}"
        );
        assert!(!said.contains("DO NOT GO"), "{said}");
    }

    #[test]
    fn the_assumed_currency_and_the_ca_store_are_named() {
        let texts = |setting: Setting| format!("{:?}", setting.findings());
        let euro = Setting::good().with("[ingest]", "default_currency = \"eur\"\n[ingest]");
        assert!(texts(euro).contains("taken to be in EUR"));
        assert!(!texts(Setting::good()).contains("certificate authorities"));
        let https = Setting::good().with("http://127.0.0.1:1", "https://127.0.0.1:1");
        assert!(texts(https).contains("certificate authorities"));
    }
}
