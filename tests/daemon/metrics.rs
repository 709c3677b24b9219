//! `/metrics`, `/healthz` and `/readyz`, as Prometheus and an orchestrator meet them.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Client, Page, Process, Site, StandIn, get, noisy, s, samples, within};

fn admin(site: &Site, path: &str) -> (u16, String) {
    get(
        UnixStream::connect(site.admin()).expect("an admin socket"),
        path,
    )
}

fn scrape(site: &Site) -> Page {
    let (status, text) = admin(site, "/metrics");
    assert_eq!(status, 200, "{text}");
    Page::read(&text)
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn the_page_keeps_to_the_conventions_before_and_after_every_kind_of_event() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    assert_eq!(scrape(&site).wrong(), Vec::<String>::new());

    Client::queue(&daemon.socket(), &samples("m", 0..50));
    let mut client = Client::connect(&daemon.socket());
    let lonely = json!({"messageId": "lonely", "type": "track", "event": "Lead"});
    assert_eq!(client.ask(&lonely.to_string()).status(), "queued");
    let lead = json!({"messageId": "i", "type": "identify"});
    assert_eq!(client.ask(&lead.to_string()).status(), "ignored");
    assert_eq!(client.ask("nonsense").status(), "rejected");
    assert_eq!(
        client.ask(&samples("m", 0..1)[0].line).status(),
        "duplicate"
    );
    // The counts of ignored and rejected lines are saved with the next block.
    assert_eq!(client.ask(&samples("n", 0..1)[0].line).status(), "queued");
    stand_in.takes(51, s(20));

    let page = within(s(10), "everything settled", || {
        let page = scrape(&site);
        (page.value("pinrelay_events_delivered_total") >= 51.0).then_some(page)
    });
    assert_eq!(page.wrong(), Vec::<String>::new());
    for (series, value) in [
        ("pinrelay_events_accepted_total", 52.0),
        ("pinrelay_events_delivered_total", 51.0),
        ("pinrelay_events_dead_total{reason=\"no_match_key\"}", 1.0),
        ("pinrelay_events_dead_total{reason=\"refused\"}", 0.0),
        ("pinrelay_dead_letters{reason=\"no_match_key\"}", 1.0),
        ("pinrelay_events_ignored_total", 1.0),
        ("pinrelay_events_rejected_total", 1.0),
        ("pinrelay_events_duplicate_total", 1.0),
        ("pinrelay_queue_events", 0.0),
        ("pinrelay_ledger_imbalance", 0.0),
        ("pinrelay_gate_state{state=\"open\"}", 1.0),
        ("pinrelay_gate_state{state=\"parked\"}", 0.0),
        ("pinrelay_gate_state{state=\"paused\"}", 0.0),
        ("pinrelay_test_mode", 0.0),
        ("pinrelay_accepting", 1.0),
        ("pinrelay_delivery_age_seconds_count", 51.0),
        ("pinrelay_batch_events_sum", 51.0),
        (
            "pinrelay_request_duration_seconds_count{class=\"auth\"}",
            0.0,
        ),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    assert!(page.value("pinrelay_acknowledgement_duration_seconds_count") >= 2.0);
    assert!(page.value("pinrelay_sync_duration_seconds_sum") > 0.0);
    assert!(page.value("pinrelay_disk_free_bytes") > 0.0);
    assert!(page.value("process_resident_memory_bytes") > 0.0);
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("pinrelay_build_info{{version=\"{version}\"}}");
    assert_eq!(page.value(&build), 1.0);
}

#[test]
fn durable_counts_survive_a_restart_and_the_gate_is_named_by_its_state() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("r", 0..20));
    stand_in.takes(20, s(20));
    daemon.stop(s(20));
    stand_in.mode(json!({"token": "another"}));
    let daemon = site.start();
    let page = scrape(&site);
    assert_eq!(page.value("pinrelay_events_accepted_total"), 20.0);
    assert_eq!(page.value("pinrelay_events_delivered_total"), 20.0);
    Client::queue(&daemon.socket(), &samples("q", 0..1));
    let page = within(s(20), "a parked gate", || {
        let page = scrape(&site);
        (page.value("pinrelay_gate_state{state=\"parked\"}") == 1.0).then_some(page)
    });
    assert_eq!(page.value("pinrelay_gate_state{state=\"open\"}"), 0.0);
    // A probe may be on its way.
    let unsettled = ["pinrelay_queue_events", "pinrelay_sending_events"].map(|of| page.value(of));
    assert_eq!(unsettled.iter().sum::<f64>(), 1.0);
    assert!(page.value("pinrelay_requests_total{class=\"auth\"}") >= 1.0);
    let oldest = page.value("pinrelay_queue_oldest_event_timestamp_seconds");
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64();
    assert!((now - 60.0..=now).contains(&oldest), "{oldest}");
    assert_eq!(page.wrong(), Vec::<String>::new());
}

#[test]
fn the_port_serves_metrics_and_health_and_nothing_else() {
    let stand_in = StandIn::start();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let site = Site::new(&stand_in).set("metrics", "listen", &address);
    let daemon = site.start();
    let ask = |path: &str| get(TcpStream::connect(&address).expect("a port"), path);
    let (status, text) = ask("/metrics");
    assert_eq!(status, 200);
    assert_eq!(Page::read(&text).wrong(), Vec::<String>::new());
    assert_eq!(ask("/healthz"), (200, "alive\n".to_owned()));
    let (status, text) = ask("/readyz");
    let ready: Value = serde_json::from_str(&text).expect(&text);
    assert_eq!((status, &ready["ready"]), (200, &Value::Bool(true)));
    for path in ["/status", "/verify", "/tail", "/trace/x", "/", "/dead"] {
        assert_eq!(ask(path).0, 404, "{path}");
    }
    // The producers' socket speaks no HTTP.
    let mut producer = Client::connect(&daemon.socket());
    assert_eq!(producer.ask("GET /metrics HTTP/1.1").status(), "rejected");
    // A second daemon on the same port says so.
    let other = Site::new(&stand_in).set("metrics", "listen", &address);
    let ended = other.fails();
    assert_eq!(ended.code, Some(69), "{}", ended.output);
    assert!(ended.output.contains("metrics.listen"), "{}", ended.output);
}

fn not_ready(site: &Site, reason: &str) {
    within(s(20), reason, || {
        let (status, text) = admin(site, "/readyz");
        (status == 503 && text.contains(reason)).then_some(())
    });
}

#[test]
fn not_ready_says_why() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"token": "another"}));
    let site = Site::new(&stand_in).set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    assert_eq!(admin(&site, "/readyz").0, 200);
    // More than the quota; the daemon stops reading somewhere in it.
    let mut writer = Client::connect(&daemon.socket()).writer();
    let lines = noisy("big", 0..300, 16 << 10);
    let text: String = lines.iter().map(|s| format!("{}\n", s.line)).collect();
    let writing = std::thread::spawn(move || drop(writer.write_all(text.as_bytes())));
    not_ready(&site, "queue.max_bytes");
    assert_eq!(scrape(&site).value("pinrelay_accepting"), 0.0);
    daemon.kill();
    writing.join().expect("a writer");

    // A drain that waits for an answer which takes its time.
    stand_in.mode(json!({"latency_ms": 4000}));
    let site = site.unset("queue", "max_bytes");
    let daemon = site.start();
    daemon.shows(s(10), "a request in flight", |status| {
        status["delivery"]["in_flight"] != 0
    });
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    not_ready(&site, "stopping");
    assert_eq!(admin(&site, "/healthz").0, 200);
    assert_eq!(daemon.end(s(30)).code, Some(0));
}

#[test]
fn promtool_agrees() {
    let found = Command::new("promtool").arg("--version").output();
    if found.is_err() {
        eprintln!("skipped: promtool is not on this machine");
        return;
    }
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("p", 0..20));
    stand_in.takes(20, s(20));
    let (_, text) = admin(&site, "/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let said = promtool.wait_with_output().expect("it ends");
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn alerts_and_dashboard_ask_for_what_there_is() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let _daemon = site.start();
    let page = scrape(&site);
    let there = |name: &str| {
        let part = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        page.kind.contains_key(name) || part.is_some_and(|part| page.kind.contains_key(part))
    };
    for file in ["prometheus-alerts.yml", "grafana-dashboard.json"] {
        let path = format!("{}/packaging/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let names: Vec<_> = words.filter(|word| word.starts_with("pinrelay_")).collect();
        assert!(names.len() >= 10, "{file}: {names:?}");
        for name in names {
            assert!(
                there(name),
                "{file} asks for {name}, which is not in /metrics"
            );
        }
        // The states and reasons that they name are there as well.
        for label in ["parked", "paused"] {
            let series = format!("pinrelay_gate_state{{state=\"{label}\"}}");
            assert!(page.series.contains_key(&series), "{series}");
        }
    }
    let dashboard = include_str!("../../packaging/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    // Each has its place, and a state says in colour whether it is one to look at.
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    let states = panels.iter().filter(|panel| panel["type"] == "stat");
    for state in states {
        let defaults = &state["fieldConfig"]["defaults"];
        let steps = defaults["thresholds"]["steps"].as_array();
        let overrides = state["fieldConfig"]["overrides"].as_array();
        let tones = steps.map_or(0, Vec::len) + overrides.map_or(0, Vec::len);
        assert!(tones > 1, "{}", state["title"]);
    }
    let gate = panels[0]["fieldConfig"]["overrides"].to_string();
    for series in page.series.keys() {
        let Some(state) = series.strip_prefix("pinrelay_gate_state{state=\"") else {
            continue;
        };
        let state = state.trim_end_matches("\"}");
        assert!(gate.contains(&format!("\"{state}\"")), "{state}: {gate}");
    }
    let asked = dashboard.to_string();
    for name in ["late", "resent", "resent_late", "set_aside"] {
        let metric = format!("pinrelay_events_{name}_total");
        assert!(asked.contains(&metric), "no panel shows {metric}");
    }
    let scrape = include_str!("../../packaging/prometheus-scrape.yml");
    assert!(scrape.contains("job_name: pinrelay") && scrape.contains("prometheus-alerts.yml"));
}

#[test]
fn the_reference_names_every_metric_as_the_page_does() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    // Without rules nothing is kept back, and nothing counted of it.
    site.config("[[filters]]\nevent = \"Never\"\naction = \"drop\"\n");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("one", 0..1));
    daemon.shows(s(20), "it is delivered", |status| status["delivered"] == 1);
    let page = scrape(&site);
    let reference = include_str!("../../docs/metrics.md");
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<(String, String, String)> = rows
        .map(|row| {
            let (name, rest) = row.split_once("` | ").expect(row);
            let (kind, rest) = rest.split_once(" | ").expect(row);
            let (_, meaning) = rest.split_once("| ").expect(row);
            let meaning = meaning.strip_suffix(" |").expect(row);
            (name.to_owned(), kind.to_owned(), meaning.to_owned())
        })
        .collect();
    let served = page.kind.iter();
    let served = served.map(|(name, kind)| (name.clone(), kind.clone(), page.help[name].clone()));
    assert_eq!(rows, served.collect::<Vec<_>>());
}

/// The sandbox of the units hides /proc/stat, where the boot's time stands.
#[test]
fn the_start_time_is_right_where_proc_shows_processes_alone() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let seconds = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("after 1970").as_secs_f64()
    };
    let script = "mount --bind /dev/null /proc/stat && exec \"$0\" \"$@\"";
    let hidden = ["-m", "--propagation", "private", "sh", "-c", script];
    let permitted = (Command::new("unshare").args(hidden).arg("true"))
        .output()
        .is_ok_and(|out| out.status.success());
    let mut begun = Vec::new();
    for hides in [false, true] {
        if hides && !permitted {
            println!("skipped: only root may hide a file of /proc");
            continue;
        }
        let before = seconds();
        let mut command = match hides {
            true => site.run_under("unshare", &hidden),
            false => site.run(),
        };
        let daemon = site.ready(Process::start(&mut command));
        let told = scrape(&site).value("process_start_time_seconds");
        assert!(
            (before - 1.0..=seconds()).contains(&told),
            "{hides}: {told}, {before}"
        );
        let status = daemon.status();
        assert_eq!(
            status["started_at"].as_f64().expect("a time") / 1000.0,
            told
        );
        // It says the same for as long as the process lives.
        assert_eq!(scrape(&site).value("process_start_time_seconds"), told);
        assert_eq!(scrape(&site).wrong(), Vec::<String>::new());
        begun.push(told);
        assert_eq!(daemon.stop(s(10)).code, Some(0));
    }
    assert!(begun.is_sorted());
}
