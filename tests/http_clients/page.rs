//! docs/http.md, as printed: each client sends its event to a daemon with the page's own config,
//! and it arrives; each proxy takes its file and passes events on. What is printed is replaced where
//! it names this machine's address, paths and ports, and nowhere else.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::PoisonError;

use serde_json::{Value, json};

use super::blocks::{Block, blocks};
use super::installed::{self, Installed};
use super::support::{Daemon, PINRELAY, Process, Site, StandIn, bare, get, s, within};
use super::{ONE, free_port, skipped};

/// What the page calls the port, the folders and the proxy.
const LISTEN: &str = "127.0.0.1:8080";
const SOCKETS: &str = "/run/pinrelay/";
const CONFIGS: &str = "/etc/pinrelay/";
const PROXY: &str = "https://events.shop.example";
/// The key that it prints.
const KEY: &str = "shop:secret";

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md");
    fs::read_to_string(file).expect("the page")
}

/// The blocks of this kind below this heading, and above the next one.
fn below(heading: &str, kind: &str) -> Vec<String> {
    let page = page();
    let lines: Vec<_> = page.lines().collect();
    let is_below = |block: &Block| {
        let mut above = lines[..block.line].iter().rev();
        above.find(|line| line.starts_with("## ") || line.starts_with("### ")) == Some(&heading)
    };
    let blocks = blocks(&page).into_iter().filter(is_below);
    let texts = blocks.filter(|block| block.kind == kind);
    let texts: Vec<_> = texts.map(|block| block.text).collect();
    assert!(!texts.is_empty(), "{heading}: no {kind}");
    texts
}

fn only(heading: &str, kind: &str) -> String {
    let mut blocks = below(heading, kind);
    assert_eq!(blocks.len(), 1, "{heading}: {kind}");
    blocks.remove(0)
}

/// A daemon as the page sets it up, and where its events go.
struct Shop {
    stand_in: StandIn,
    site: Site,
    address: String,
}

impl Shop {
    /// Under the page's config, with these tables besides.
    fn new(more: &[String]) -> Self {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in);
        let address = format!("127.0.0.1:{}", free_port());
        let shop = Self {
            stand_in,
            site,
            address,
        };
        let key = shop.site.path("shop.key");
        fs::write(&key, format!("{KEY}\n")).expect("a key's file");
        fs::set_permissions(key, Permissions::from_mode(0o640)).expect("a mode");
        let file = shop.site.config_file();
        let mut config = fs::read_to_string(&file).expect("a config");
        let mut behind = String::new();
        for block in std::iter::once(&only("## Where it listens", "toml")).chain(more) {
            // A table stands once in a file: what the page says goes into the one that is there.
            let (keys, tables) = block.split_once("\n[[").unwrap_or((block, ""));
            config = config.replacen("[ingest]\n", &format!("{}\n", keys.trim_end()), 1);
            if !tables.is_empty() {
                behind += &format!("\n[[{tables}");
            }
        }
        fs::write(file, shop.printed(&(config + &behind))).expect("a config");
        shop
    }

    /// What the page prints, with this place's names in it.
    fn printed(&self, text: &str) -> String {
        let here = format!("{}/", self.site.path("").display());
        let here = here.replace("//", "/");
        text.replace(LISTEN, &self.address)
            .replace(SOCKETS, &here)
            .replace(CONFIGS, &here)
            .replace(PROXY, &format!("http://{}", self.address))
    }

    /// A block of the page; it names something that is elsewhere here.
    fn block(&self, text: &str) -> String {
        let printed = self.printed(text);
        assert_ne!(printed, text, "it goes nowhere");
        printed
    }

    /// Runs a script of the page.
    fn shell(&self, text: &str) -> String {
        let bin = Path::new(PINRELAY).parent().expect("a folder of binaries");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = bare(Path::new("bash"));
        bash.args([
            "-euo",
            "pipefail",
            "-c",
            &format!("exec 2>&1\n{}", self.block(text)),
        ])
        .env("PATH", format!("{}:{path}", bin.display()))
        .current_dir(self.site.path(""));
        said(&mut bash)
    }

    /// One order is delivered, under this messageId if it is known.
    fn delivers(&self, daemon: &Daemon<'_>, message_id: Option<&str>) {
        self.stand_in.takes(1, s(30));
        let events = self.stand_in.events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(&*events[0].event_name, "checkout");
        if let Some(id) = message_id {
            assert_eq!(&*events[0].event_id, id);
        }
        let status = daemon.shows(s(30), "all settled", |status| status["sending"] == 0);
        let ledger = &status["ledger"];
        for (count, due) in [("accepted", 1), ("delivered", 1), ("rejected", 0)] {
            assert_eq!(ledger[count], due, "{count}: {status:#}");
        }
    }

    /// The events that wait, as they are stored.
    fn waiting(&self) -> Vec<Value> {
        let stream = std::os::unix::net::UnixStream::connect(self.site.admin());
        let (code, body) = get(stream.expect("the admin socket"), "/queue");
        assert_eq!(code, 200, "{body}");
        let page: Value = serde_json::from_str(&body).expect("JSON");
        let events = page["events"].as_array().expect("a list");
        events.iter().map(|event| event["event"].clone()).collect()
    }
}

/// The stdout of a program that ends well.
fn said(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it runs");
    let (out, err) = (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}\n{out}{err}");
    out
}

/// A client of the page sends its event, and ends by itself.
fn sends(heading: &str, kind: &str, id: Option<&str>, client: impl Fn(&str, &str) -> Installed) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let shop = Shop::new(&[]);
    let name: String = heading.split(|c: char| !c.is_alphanumeric()).collect();
    let mut client = match client(&format!("page_{name}"), &shop.block(&only(heading, kind))) {
        Ok(client) => client,
        Err(missing) => return skipped(&missing),
    };
    let daemon = shop.site.start();
    let ended = Process::start(&mut client).ended(s(60));
    assert_eq!(
        (ended.code, ended.output.trim()),
        (Some(0), ""),
        "{heading}"
    );
    shop.delivers(&daemon, id);
}

#[test]
fn segment_for_node() {
    sends(
        "### Segment, Node",
        "js",
        Some("order-991"),
        |name, text| installed::node_text(&format!("{name}.mjs"), text, None),
    );
}

#[test]
fn segment_for_python() {
    let id = Some("order-991");
    sends("### Segment, Python", "python", id, |name, text| {
        installed::python_text(&format!("{name}.py"), text)
    });
}

#[test]
fn jitsu() {
    sends("### Jitsu", "js", None, |name, text| {
        installed::node_text(&format!("{name}.mjs"), text, None)
    });
}

#[test]
fn rudderstack() {
    let id = Some("order-991");
    sends("### RudderStack, Node", "js", id, |name, text| {
        installed::node_text(&format!("{name}.mjs"), text, None)
    });
}

/// The script of a web page, which stays open until its event has come.
fn chord(name: &str, text: &str, document: bool) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let shop = Shop::new(&[]);
    let mut client = match installed::node_text(name, &shop.block(text), Some("page.mjs")) {
        Ok(client) => client,
        Err(missing) => return skipped(&missing),
    };
    if document {
        client.env("DOCUMENT", "1");
    }
    let daemon = shop.site.start();
    let client = Process::start(&mut client);
    shop.delivers(&daemon, None);
    assert_eq!(client.output().trim(), "");
}

#[test]
fn chord_with_jitsu() {
    chord("page_chord_jitsu.mjs", &below("### Chord", "js")[0], false);
}

/// The page's second block in the place of what makes the other client in the first.
#[test]
fn chord_with_segment() {
    let blocks = below("### Chord", "js");
    let [text, other] = &blocks[..] else {
        panic!("{} blocks", blocks.len());
    };
    let (import, cdp) = other.trim().split_once("\n\n").expect("two parts");
    let mut replaced = 0;
    let lines = text.lines().map(|line| {
        let by = match line {
            line if line.contains("from '@jitsu/js'") => import,
            line if line.starts_with("const cdp = ") => cdp,
            line => return line,
        };
        replaced += 1;
        by
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(replaced, 2, "{text}");
    chord("page_chord_segment.mjs", &text, true);
}

/// One event as a file of lines.
fn lines(shop: &Shop) {
    let event = json!({"messageId": "order-991", "type": "track", "event": "Order Completed",
        "properties": {"email": "ada@example.com"}});
    fs::write(shop.site.path("events.ndjson"), format!("{event}\n")).expect("a file");
}

#[test]
fn curl() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(missing) = installed::program("curl") {
        return skipped(&missing);
    }
    let blocks = below("### curl", "sh");
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let shop = Shop::new(&[]);
        lines(&shop);
        let daemon = shop.site.start();
        let answer = shop.shell(&block);
        let queued = r#"{"status":"queued","messageId":"order-991"}"#;
        assert!(answer.contains(queued), "{block}{answer}");
        shop.delivers(&daemon, Some("order-991"));
    }
}

#[test]
fn pinrelay_send() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let shop = Shop::new(&[]);
    lines(&shop);
    let daemon = shop.site.start();
    let answer = shop.shell(&only("### pinrelay send", "sh"));
    assert!(answer.starts_with("1 answered: 1 queued,"), "{answer}");
    shop.delivers(&daemon, Some("order-991"));
}

/// What the page says to install is what is installed for its tests.
#[test]
fn what_the_page_installs_is_tested() {
    let page = page();
    let list = |file: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::read_to_string(file).expect("a list of packages")
    };
    let node: Value = serde_json::from_str(&list("tests/http_clients/node/package.json")).unwrap();
    let python = list("tests/http_clients/python/requirements.txt");
    let mut packages = 0;
    for span in page.split('`') {
        if let Some(names) = span.strip_prefix("npm install ") {
            for name in names.split(' ') {
                assert!(node["dependencies"][name].is_string(), "{name}");
                packages += 1;
            }
        } else if let Some(name) = span.strip_prefix("pip install ") {
            assert!(python.contains(&format!("{name}==")), "{name}");
            packages += 1;
        }
    }
    assert_eq!(packages, 6);
}

/// A proxy that runs as the page has it, and the daemon behind it, which may send nothing yet.
struct Proxied<'s> {
    shop: &'s Shop,
    port: u16,
    /// curl's own arguments: how the proxy is found, and believed.
    found: Vec<String>,
    origin: String,
}

impl Proxied<'_> {
    /// Asks for a path; the answer's status, head and body.
    fn ask(&self, args: &[&str], path: &str) -> (u16, String, String) {
        let mut curl = bare(Path::new("curl"));
        curl.args(["-sS", "-i", "--max-time", "30", "-H", "Expect:"]);
        curl.args(&self.found).args(args);
        curl.arg(format!("{}{path}", self.origin));
        let said = said(&mut curl);
        let (head, body) = said.split_once("\r\n\r\n").expect("a head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (
            code.expect("a status"),
            head.to_lowercase(),
            body.to_owned(),
        )
    }

    /// What the page says of proxies.
    fn holds(&self) {
        let event = |id: &str| {
            json!({"messageId": id, "event": "Order Completed",
                "properties": {"email": "ada@example.com"}})
            .to_string()
        };
        let key = format!("X-Write-Key: {KEY}");
        let json = "Content-Type: application/json";
        let post = |headers: &[&str], path: &str, body: &str| {
            let mut args = vec!["-H", &key, "-H", json];
            args.extend(headers.iter().flat_map(|header| ["-H", header]));
            let file = self.shop.site.path("body");
            fs::write(&file, body).expect("a body");
            let file = format!("@{}", file.display());
            args.extend(["--data-binary", &file]);
            self.ask(&args, path)
        };

        // A web page, and one that may not. What a client claims of its address is not passed on.
        let from_page = [
            "Origin: https://shop.example",
            "X-Forwarded-For: 203.0.113.9",
            "User-Agent: a phone",
        ];
        let (code, head, body) = post(&from_page, "/api/s/track", &event("from-a-page"));
        assert_eq!(code, 200, "{head}\n{body}");
        let allowed = "access-control-allow-origin: https://shop.example";
        assert!(head.contains(allowed), "{head}");
        assert!(head.contains("vary: origin"), "{head}");
        let elsewhere = ["Origin: https://other.example"];
        let (code, head, _) = post(&elsewhere, "/v1/t", &event("from-elsewhere"));
        assert_eq!(code, 200, "{head}");
        assert!(!head.contains("access-control-allow-origin"), "{head}");
        let asks = ["-X", "OPTIONS", "-H", "Origin: https://shop.example"];
        let (code, head, _) = self.ask(&asks, "/api/s/track");
        assert_eq!(code, 204, "{head}");
        assert!(head.contains(allowed), "{head}");
        for header in [
            "authorization",
            "content-type",
            "x-retry-count",
            "x-write-key",
        ] {
            assert!(head.contains(header), "{header}: {head}");
        }
        let stored = self.shop.waiting();
        let context = &stored[0]["context"];
        let due = json!({"ip": "127.0.0.1", "userAgent": "a phone"});
        assert_eq!(context, &due, "{stored:?}");
        // There the client is no browser, and its user agent is nobody's.
        assert_eq!(stored[1]["context"], json!({"ip": "127.0.0.1"}));

        // What the daemon says passes, and so does what it takes.
        let (code, _, body) = self.ask(&["-d", "{}", "-H", "X-Write-Key: no"], "/v1/track");
        assert_eq!(code, 401, "{body}");
        let room = " ".repeat(3 << 20);
        let long = format!(
            r#"{{"batch":[{{"type":"track",{}]{room}}}"#,
            &event("long")[1..]
        );
        let (code, _, body) = post(&[], "/v1/batch", &long);
        assert_eq!(code, 200, "{body}");
        let (code, _, _) = post(&[], "/v1/track", &" ".repeat((4 << 20) + 1));
        assert_eq!(code, 413);
        let (code, _, body) = self.ask(&[], &format!("/v1/projects/{KEY}/settings"));
        let settings: Value = serde_json::from_str(&body).expect("JSON");
        let there = &settings["integrations"]["Segment.io"];
        let (scheme, host) = self.origin.split_once("://").expect("a scheme");
        let due = json!({"apiKey": KEY, "protocol": scheme, "apiHost": format!("{host}/v1")});
        assert_eq!((code, there), (200, &due), "{settings}");
    }

    /// Lines go in and their answers come out while the request lasts.
    fn streams(&self) {
        let mut curl = bare(Path::new("curl"));
        curl.args(["-sS", "-N", "-T", ".", "-X", "POST"]);
        curl.args(["-H", "Expect:", "-H", &format!("X-Write-Key: {KEY}")]);
        curl.args(&self.found)
            .arg(format!("{}/v1/events", self.origin));
        let (from, mut to) = std::io::pipe().expect("a pipe");
        let mut curl = Process::start_with(&mut curl, Stdio::from(from));
        for n in 0..3 {
            let event = json!({"messageId": format!("line-{n}"), "type": "track",
                "event": "Order Completed", "properties": {"email": "ada@example.com"}});
            writeln!(to, "{event}").expect("curl reads");
            let answer = format!(r#"{{"status":"queued","messageId":"line-{n}"}}"#);
            curl.says(&answer, s(20));
        }
        drop(to);
        assert_eq!(curl.ended(s(20)).code, Some(0));
    }

    fn answers(&self, proxy: &mut Process) {
        within(s(20), "a proxy that listens", || {
            assert!(proxy.running(), "it ended: {}", proxy.output());
            std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }
}

fn paused(shop: &Shop) {
    said(&mut shop.site.command(&["pause"]));
}

/// What waited behind the proxy is delivered.
fn resumed(shop: &Shop, events: u64) {
    said(&mut shop.site.command(&["resume"]));
    shop.stand_in.takes(events, s(30));
}

#[test]
fn nginx() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let needed = ["nginx", "curl", "openssl"].map(installed::program);
    if let Some(Err(missing)) = needed.iter().find(|program| program.is_err()) {
        return skipped(missing);
    }
    let shop = Shop::new(&[only("### The customer's address", "toml")]);
    let daemon = shop.site.start();
    paused(&shop);
    let here = shop.site.path("").display().to_string();
    let here = here.trim_end_matches('/');
    said(bare(Path::new("openssl")).current_dir(here).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=events.shop.example",
        "-addext",
        "subjectAltName=DNS:events.shop.example",
        "-keyout",
        "privkey.pem",
        "-out",
        "fullchain.pem",
    ]));
    let port = free_port();
    let file = shop.block(&only("### nginx", "nginx"));
    let file = file
        .replace("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"))
        .replace("/etc/ssl/events.shop.example/", &format!("{here}/"));
    // Around it what a machine has: only places that are this test's own, and one process, which ends
    // with the test.
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {here}/nginx_{kind};\n"));
    let whole = format!(
        "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\naccess_log off;\n{}{file}}}\n",
        folders.concat()
    );
    fs::write(shop.site.path("nginx.conf"), whole).expect("a config");
    let run = || {
        let mut nginx = installed::program("nginx").expect("it was there");
        nginx.args(["-p", here, "-e", "stderr", "-c"]);
        nginx.arg(shop.site.path("nginx.conf"));
        nginx
    };
    said(run().arg("-t"));
    let mut proxy = Process::start(&mut run());
    let proxied = Proxied {
        shop: &shop,
        port,
        found: [
            "--cacert",
            &format!("{here}/fullchain.pem"),
            "--connect-to",
            &format!("events.shop.example:443:127.0.0.1:{port}"),
        ]
        .map(str::to_owned)
        .to_vec(),
        origin: PROXY.to_owned(),
    };
    proxied.answers(&mut proxy);
    proxied.holds();
    proxied.streams();
    resumed(&shop, 6);
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(proxy.ended(s(20)).code, Some(0));
    drop(daemon);
}

/// Over plain HTTP: Caddy gets certificates for a host's name by itself, from the Internet.
#[test]
fn caddy() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let needed = ["caddy", "curl"].map(installed::program);
    if let Some(Err(missing)) = needed.iter().find(|program| program.is_err()) {
        // No test asks for it: it is large, and brings other packages along.
        println!("skipped: {missing}");
        return;
    }
    let shop = Shop::new(&[only("### The customer's address", "toml")]);
    let daemon = shop.site.start();
    paused(&shop);
    let printed = only("### Caddy", "caddyfile");
    let caddy = |text: &str, command: &str| {
        let file = shop.site.path("Caddyfile");
        fs::write(&file, text).expect("a config");
        let mut caddy = installed::program("caddy").expect("it was there");
        caddy.env("HOME", shop.site.path(""));
        caddy.args([command, "--adapter", "caddyfile", "--config"]);
        caddy.arg(file);
        caddy
    };
    said(&mut caddy(&printed, "validate"));
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let file = shop
        .block(&printed)
        .replace("events.shop.example {", &format!("{origin} {{"));
    let file = format!("{{\n\tadmin off\n}}\n{file}");
    let mut proxy = Process::start(&mut caddy(&file, "run"));
    let proxied = Proxied {
        shop: &shop,
        port,
        found: Vec::new(),
        origin,
    };
    proxied.answers(&mut proxy);
    proxied.holds();
    resumed(&shop, 3);
    drop(daemon);
}
